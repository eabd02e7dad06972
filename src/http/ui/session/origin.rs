//! Whether a request that changes something came from a page of ours, by what browsers say of themselves and no page can
//! change: `Sec-Fetch-Site` (Fetch Metadata) and `Origin` (RFC 6454). Programs that send neither are left to the form's
//! token, which no other site can read.

use axum::http::{HeaderMap, Uri, header};

use super::Refusal;

/// Turns away what another site has sent.
///
/// # Errors
/// [`Refusal::not_ours`].
pub(super) fn check(headers: &HeaderMap, uri: &Uri, own: &str) -> Result<(), Refusal> {
    if is_ours(headers, uri, own) { Ok(()) } else { Err(Refusal::not_ours()) }
}

fn is_ours(headers: &HeaderMap, uri: &Uri, own: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    // `none`: typed, bookmarked, or sent again after a reload.
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return false;
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return true };
    let host = text(header::HOST.as_str()).or_else(|| uri.authority().map(|it| it.as_str()));
    let named = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    origin.eq_ignore_ascii_case(own)
        || named.zip(host).is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_may_change_anything() {
        let own = "https://mail.acme.example";
        let ours = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().expect("a header"));
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header"));
            }
            is_ours(&headers, &"/login".parse().expect("a path"), own)
        };
        for good in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://mail.acme.example")],
            &[("origin", "http://127.0.0.1:8080")],
        ] {
            assert!(ours(good), "{good:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://mail.acme.example")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://mail.acme.example.evil.example")],
            &[("origin", "http://127.0.0.1:8081")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "file://127.0.0.1:8080")],
        ] {
            assert!(!ours(bad), "{bad:?}");
        }
    }
}
