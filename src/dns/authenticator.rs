//! What checks who a mail is from (SPF, DKIM, DMARC, ARC), asking the same servers as everything else.

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use mail_auth::MessageAuthenticator;

use super::Settings;

/// An authenticator that asks the configured servers.
///
/// # Errors
/// The library cannot be set up.
pub fn authenticator(settings: &Settings) -> Result<MessageAuthenticator, NetError> {
    let mut options = ResolverOpts::default();
    options.timeout = settings.patience / 2;
    options.attempts = 1;
    let config = ResolverConfig::from_parts(None, Vec::new(), settings.servers.configs());
    MessageAuthenticator::new(config, options)
}
