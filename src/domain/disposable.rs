//! Domains whose mailboxes anybody can have for minutes and throw away: a list that others keep, in `assets/disposable`.
//! What is not on it may be disposable all the same.

/// One domain a line, in byte order.
const LIST: &str = include_str!("../../assets/disposable/domains.txt");

/// Whether mailboxes of this domain, in lower-case A-labels, are thrown away: it, or one above it, is on the list.
pub fn is_disposable(domain: &str) -> bool {
    let mut rest = domain;
    loop {
        if is_listed(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) if parent.contains('.') => rest = parent,
            _ => return false,
        }
    }
}

/// Halves the list, line by line.
fn is_listed(domain: &str) -> bool {
    let (mut low, mut high) = (0, LIST.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = LIST[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let end = LIST[start..].find('\n').map_or(LIST.len(), |at| start + at);
        match LIST[start..end].cmp(domain) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_with_all_below_it_and_nothing_else() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.len() > 5000 && lines.is_sorted());
        for line in &lines {
            assert!(is_disposable(line), "{line}");
        }
        assert!(is_disposable("mx.eu.mailinator.com"));
        for other in ["gmail.com", "acme.example", "com", "", "~", "0", "notmailinator.com"] {
            assert!(!is_disposable(other), "{other}");
        }
    }
}
