//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^x]`, `\`-escapes, on bytes.

/// Whether `text` matches `pattern` as Redis 7 matches it (`stringmatchlen`). Runs in time proportional to
/// the product of the two lengths at worst: only the last `*` is ever backtracked to.
#[must_use]
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Redis never enters its loop for an empty text: not even `*` matches it.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`: the pattern behind it, and the text that it has not swallowed yet.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(_), Some(&byte)) => {
                let (matched, next) = match_one(pattern, p, byte);
                if matched {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((after_star, swallowed)) if swallowed < text.len() => {
                retry = Some((after_star, swallowed + 1));
                (p, t) = (after_star, swallowed + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the pattern's element at `p`; also says where the next element begins.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> (bool, usize) {
    match pattern.get(p) {
        Some(b'?') => (true, p + 1),
        Some(b'[') => match_class(pattern, p + 1, byte),
        Some(b'\\') if p + 1 < pattern.len() => (pattern.get(p + 1) == Some(&byte), p + 2),
        other => (other == Some(&byte), p + 1),
    }
}

/// Matches a class whose `[` lies before `p`. An unclosed class ends with the pattern, as in Redis.
fn match_class(pattern: &[u8], mut p: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut matched = false;
    loop {
        match (pattern.get(p), pattern.get(p + 1), pattern.get(p + 2)) {
            (None, ..) => return (matched != negated, p),
            (Some(b']'), ..) => return (matched != negated, p + 1),
            (Some(b'\\'), Some(escaped), _) => {
                matched |= *escaped == byte;
                p += 2;
            }
            (Some(&low), Some(b'-'), Some(&high)) => {
                matched |= (low.min(high)..=low.max(high)).contains(&byte);
                p += 3;
            }
            (Some(&single), ..) => {
                matched |= single == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", false),
            ("*", "a", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*c", "a*c", true),
            ("a\\*c", "abc", false),
            ("[\\]]", "]", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("a**b", "ab", true),
            ("[abc", "c", true),
            ("news.*", "news.", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "a*".repeat(5_000);
        let text = "a".repeat(4_000);
        assert!(!matches(format!("{pattern}b").as_bytes(), text.as_bytes()));
    }
}
