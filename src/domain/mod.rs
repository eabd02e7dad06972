//! The nouns of postroad and its pure rules: what can be answered without clock, database or network.
//! Domain types carry no serde and no SQL: each door owns its wire types, and `store` owns the rows.

pub mod blueprint;
pub mod classify;
pub mod delivery;
pub mod event;
pub mod handling;
pub mod handoff;
pub mod id;
pub mod identity;
pub mod inbound;
pub mod incarnation;
pub mod key;
pub mod message;
pub mod netguard;
pub mod notice;
pub mod outcome;
pub mod pacing;
pub mod pause;
pub mod provider;
pub mod relay;
pub mod reputation;
pub mod retry;
pub mod return_path;
pub mod sending;
pub mod stats;
pub mod stream;
pub mod submission;
pub mod suppression;
pub mod template;
pub mod tenant;
pub mod token;
pub mod tracking;
pub mod unsubscribe;
pub mod unsubscribe_link;
pub mod visitor;
pub mod webhook;
