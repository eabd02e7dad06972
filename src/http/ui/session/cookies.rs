//! The dashboard's cookies (RFC 6265). Where it is reached over TLS their names begin with `__Host-`, so that no other
//! host and no page without TLS can set them; else they are plain, and `postroad doctor` says so.

use axum::http::{HeaderMap, HeaderValue, header};
use data_encoding::BASE64URL_NOPAD;

use crate::domain::key::NoRandomness;

/// What each cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// The token of a session.
    Token,
    /// What gets the next token.
    Renewal,
    /// What forms are bound to before anybody is signed in.
    Form,
    /// Who is halfway in.
    Halfway,
    /// What was sent along to the OpenID provider.
    Away,
}

impl Name {
    const fn stem(self) -> &'static str {
        match self {
            Name::Token => "postroad-session",
            Name::Renewal => "postroad-renewal",
            Name::Form => "postroad-form",
            Name::Halfway => "postroad-halfway",
            Name::Away => "postroad-away",
        }
    }

    /// How long the browser keeps it, in seconds; `None`: until it is closed. The server's own limits are tighter.
    const fn max_age(self) -> Option<u32> {
        match self {
            Name::Token | Name::Renewal => Some(14 * 24 * 3600),
            Name::Halfway | Name::Away => Some(600),
            Name::Form => None,
        }
    }
}

/// What a browser showed, and what it is to keep.
#[derive(Debug)]
pub struct Jar {
    is_https: bool,
    shown: Vec<(String, String)>,
    /// To be set; an empty value is to be forgotten.
    changes: Vec<(Name, String)>,
}

impl Jar {
    /// The cookies of a request.
    pub fn of(headers: &HeaderMap, is_https: bool) -> Jar {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let shown = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Jar { is_https, shown, changes: Vec::new() }
    }

    /// The session's token.
    pub fn token(&self) -> Option<&str> {
        self.get(Name::Token)
    }

    /// What gets the next token.
    pub fn renewal(&self) -> Option<&str> {
        self.get(Name::Renewal)
    }

    /// Who is halfway in.
    pub fn halfway(&self) -> Option<&str> {
        self.get(Name::Halfway)
    }

    /// What was sent along to the OpenID provider.
    pub fn away(&self) -> Option<&str> {
        self.get(Name::Away)
    }

    /// What forms are bound to; a browser that has none gets one.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn form_key(&mut self) -> Result<String, NoRandomness> {
        if let Some(key) = self.get(Name::Form).filter(|key| key.len() == 22) {
            return Ok(key.to_owned());
        }
        let mut random = [0u8; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let key = BASE64URL_NOPAD.encode(&random);
        self.changes.push((Name::Form, key.clone()));
        Ok(key)
    }

    /// Sets the session's token.
    pub fn set_token(&mut self, token: String) {
        self.changes.push((Name::Token, token));
    }

    /// Sets what gets the next token. Whoever was halfway in is in.
    pub fn set_renewal(&mut self, renewal: &str) {
        self.changes.push((Name::Renewal, renewal.to_owned()));
        self.changes.push((Name::Halfway, String::new()));
        self.changes.push((Name::Away, String::new()));
    }

    /// Sets who is halfway in.
    pub fn set_halfway(&mut self, token: String) {
        self.changes.push((Name::Halfway, token));
    }

    /// Sets what is sent along to the OpenID provider.
    pub fn set_away(&mut self, sealed: String) {
        self.changes.push((Name::Away, sealed));
    }

    /// Forgets who was signed in.
    pub fn forget(&mut self) {
        for name in [Name::Token, Name::Renewal, Name::Halfway] {
            self.changes.push((name, String::new()));
        }
    }

    fn get(&self, name: Name) -> Option<&str> {
        let wanted = self.full_name(name);
        self.shown.iter().find(|(known, _)| *known == wanted).map(|(_, value)| value.as_str())
    }

    fn full_name(&self, name: Name) -> String {
        let prefix = if self.is_https { "__Host-" } else { "" };
        format!("{prefix}{}", name.stem())
    }

    /// Tells the browser what to keep. What a handler has told it already stands.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.changes {
            let full_name = self.full_name(*name);
            let told = headers.get_all(header::SET_COOKIE).iter();
            if told.into_iter().any(|told| told.as_bytes().starts_with(format!("{full_name}=").as_bytes())) {
                continue;
            }
            let secure = if self.is_https { "; Secure" } else { "" };
            let age = match (value.as_str(), name.max_age()) {
                ("", _) => "; Max-Age=0".to_owned(),
                (_, Some(seconds)) => format!("; Max-Age={seconds}"),
                (_, None) => String::new(),
            };
            let cookie = format!("{full_name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().expect("a header"));
        }
        headers
    }

    fn written(jar: &Jar) -> Vec<String> {
        let mut headers = HeaderMap::new();
        jar.write(&mut headers);
        let all = headers.get_all(header::SET_COOKIE).iter();
        all.map(|value| value.to_str().expect("ASCII").to_owned()).collect()
    }

    #[test]
    fn over_tls_cookies_are_of_this_host_alone_and_else_plain() {
        let mut jar = Jar::of(&headers(&[]), true);
        jar.set_token("t".to_owned());
        let secure = "__Host-postroad-session=t; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=1209600";
        assert_eq!(written(&jar), [secure]);

        let mut jar = Jar::of(&headers(&[]), false);
        jar.forget();
        assert_eq!(written(&jar)[0], "postroad-session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }

    #[test]
    fn what_another_host_could_have_set_is_not_read_over_tls() {
        let plain = headers(&["postroad-session=forged; x=1", "__Host-postroad-renewal=r"]);
        let jar = Jar::of(&plain, true);
        assert_eq!((jar.token(), jar.renewal()), (None, Some("r")));
        assert_eq!(Jar::of(&plain, false).token(), Some("forged"));
    }

    #[test]
    fn a_browser_keeps_what_its_forms_are_bound_to() {
        let mut jar = Jar::of(&headers(&[]), false);
        let key = jar.form_key().expect("randomness");
        assert_eq!(written(&jar), [format!("postroad-form={key}; Path=/; HttpOnly; SameSite=Lax")]);
        let mut again = Jar::of(&headers(&[&format!("postroad-form={key}")]), false);
        assert_eq!(again.form_key().expect("kept"), key);
        assert!(written(&again).is_empty());
    }

    #[test]
    fn what_a_handler_set_stands() {
        let mut jar = Jar::of(&headers(&[]), false);
        jar.set_token("renewed".to_owned());
        let mut answer = HeaderMap::new();
        let mut handlers = Jar::of(&headers(&[]), false);
        handlers.forget();
        handlers.write(&mut answer);
        jar.write(&mut answer);
        let set = answer
            .get_all(header::SET_COOKIE)
            .iter()
            .filter(|value| value.as_bytes().starts_with(b"postroad-session="));
        assert_eq!(set.count(), 1);
    }
}
