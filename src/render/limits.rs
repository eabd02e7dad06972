//! How much a template may be and do. Generous for mail (a large receiver clips HTML at 102 kB), and small enough
//! that no template of one tenant is felt by another.

/// One part's source, in octets.
pub const MAX_SOURCE: usize = 512 * 1024;
/// One part with its variables, in octets.
pub const MAX_OUTPUT: usize = 1024 * 1024;
/// Blocks within blocks, over all partials.
pub const MAX_DEPTH: usize = 40;
/// Parentheses and brackets within one tag.
pub const MAX_NESTED_CALLS: usize = 12;
/// Partials that one part includes, directly and through others.
pub const MAX_PARTIALS: usize = 50;
/// Steps of one part: each element of a template counts as often as it is run.
pub const MAX_STEPS: u64 = 1_000_000;
/// Elements within elements, in HTML and MJML.
pub const MAX_ELEMENTS_DEPTH: usize = 200;
/// The CSS of one HTML part, in octets.
pub const MAX_CSS: usize = 128 * 1024;
/// The variables of one rendering as JSON, in octets.
pub const MAX_VARIABLES: usize = 100 * 1024;
/// Objects and lists within each other in the variables.
pub const MAX_VARIABLES_DEPTH: usize = 20;
