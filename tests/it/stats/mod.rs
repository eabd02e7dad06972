//! Statistics and exports: that figures are what happened, to the last event, each counted once.

mod export;
mod figures;
mod rollup;
