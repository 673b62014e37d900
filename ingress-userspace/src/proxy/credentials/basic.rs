use data_encoding::BASE64_NOPAD;

/// The name and the password of a request (RFC 7617).
pub(in crate::proxy) struct Basic {
    /// Both, with a colon between them.
    text: Vec<u8>,
    /// Where the colon is.
    colon: usize,
}

impl Basic {
    /// Reads `Authorization`. `None`: it is not of this scheme, or not as it should be. A name is
    /// never empty, as in NGINX.
    pub(in crate::proxy) fn of(value: &[u8]) -> Option<Self> {
        let text = super::credentials_of(value, b"basic")?;
        // Padding is as optional as in NGINX.
        let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        let text = BASE64_NOPAD.decode(text.get(..end)?).ok()?;
        let colon = text.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0)?;
        Some(Self { text, colon })
    }

    /// Never empty.
    pub(in crate::proxy) fn name(&self) -> &[u8] {
        self.text.get(..self.colon).unwrap_or_default()
    }

    pub(super) fn password(&self) -> &[u8] {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in any::<Vec<u8>>()) {
            let _any = Basic::of(&text);
            let _any = Basic::of(&[&b"Basic "[..], &text].concat());
            let coded = data_encoding::BASE64.encode(&text);
            if let Some(own) = Basic::of(format!("Basic {coded}").as_bytes()) {
                prop_assert_eq!([own.name(), b":", own.password()].concat(), text);
            }
        }
    }

    fn read(value: &str) -> Option<(String, String)> {
        let basic = Basic::of(value.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(basic.name()), text(basic.password())))
    }

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn names_and_passwords_are_read() {
        assert_eq!(read("Basic Ym9iOnNlY3JldA=="), pair("bob", "secret"));
        assert_eq!(read("bAsIc   Ym9iOnNlY3JldA"), pair("bob", "secret"));
        assert_eq!(read("Basic Ym9iOmE6Yg=="), pair("bob", "a:b"));
        assert_eq!(read("Basic Ym9iOg=="), pair("bob", ""));
        assert_eq!(read("Basic asOkZ2VyOmLDvHI="), pair("jäger", "bür"));
    }

    #[test]
    fn what_is_garbled_is_nobody() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic =",
            "Basic Ym9i",
            "Basic OnNlY3JldA==",
            "Basic Ym9i*nNlY3JldA==",
            "Basic Ym9iOnNlY3JldA== x",
            "BasicYm9iOnNlY3JldA==",
            "Bearer Ym9iOnNlY3JldA==",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
