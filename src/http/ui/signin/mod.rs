//! The ways in: log-in and log-out, the first person, and what people prove who they are by. All logic is in
//! `account/users`; here are its pages.

pub mod account;
pub mod app;
pub mod invitation;
pub mod login;
pub mod oidc;
pub mod passkeys;
pub mod reset;
pub mod second_factor;
pub mod setup;
pub mod team;

/// Where to go after signing in: a page of ours, whatever the link said.
fn next(given: &str) -> &str {
    let is_page = (given == "/ui" || given.starts_with("/ui/") || given.starts_with("/ui?"))
        && given.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
    if is_page { given } else { "/ui/" }
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn nobody_is_led_elsewhere() {
        for good in ["/ui/messages?q=a%20b&x=1", "/ui/", "/ui"] {
            assert_eq!(next(good), good);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/ui/",
            "/uix",
            "/ui/\r\nX: y",
            "/ui/\\x",
            "/v1/keys",
        ] {
            assert_eq!(next(bad), "/ui/", "{bad}");
        }
    }
}
