//! The words of nginx's configuration language, by its own rules (`ngx_conf_read_token`).

/// The longest snippet that is read. Bytes: an annotation can be 256 KiB in all.
const LONGEST: usize = 64 << 10;

/// A word or sign of a snippet, and the line that it begins on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// What is wrong with a snippet, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Fault {
    pub(in crate::translate) line: usize,
    pub(in crate::translate) why: String,
    /// The annotation that does the same, if there is one.
    pub(in crate::translate) instead: Option<&'static str>,
}

impl Fault {
    pub(in crate::translate) fn new(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into(), instead: None }
    }
}

/// Cuts a snippet into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    if text.len() > LONGEST {
        return Err(Fault::new(1, format!("the snippet is longer than {LONGEST} bytes")));
    }
    let mut reader = Reader { rest: text.chars().peekable(), line: 1, tokens: Vec::new() };
    while reader.token()? {}
    Ok(reader.tokens)
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn push(&mut self, kind: Kind, line: usize) {
        self.tokens.push(Token { kind, line });
    }

    /// The next token; false at the end.
    fn token(&mut self) -> Result<bool, Fault> {
        while self
            .rest
            .next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
            .inspect(|c| {
                if *c == '\n' {
                    self.line += 1;
                }
            })
            .is_some()
        {}
        let line = self.line;
        let Some(&first) = self.rest.peek() else { return Ok(false) };
        match first {
            ';' | '{' | '}' => {
                self.next();
                let kind = match first {
                    ';' => Kind::End,
                    '{' => Kind::Open,
                    _ => Kind::Close,
                };
                self.push(kind, line);
            }
            '#' => while self.next().is_some_and(|c| c != '\n') {},
            '"' | '\'' => self.quoted(first, line)?,
            _ => self.plain(line)?,
        }
        Ok(true)
    }

    /// A word in quotes. What follows it must end a word; a `)` is a word of its own then.
    fn quoted(&mut self, quote: char, line: usize) -> Result<(), Fault> {
        self.next();
        let mut word = String::new();
        loop {
            match self.next() {
                None => return Err(Fault::new(line, "a quoted text has no end")),
                Some('\\') => self.escape(&mut word, line)?,
                Some(c) if c == quote => break,
                Some(c) => word.push(c),
            }
        }
        self.check(&word, line)?;
        self.push(Kind::Word(word), line);
        match self.rest.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(()),
            Some(c) => {
                Err(Fault::new(self.line, format!("`{c}` stands right after a quoted text")))
            }
        }
    }

    fn plain(&mut self, line: usize) -> Result<(), Fault> {
        let mut word = String::new();
        let mut after_dollar = false;
        while let Some(&c) = self.rest.peek() {
            // `${name}` is part of a word, any other brace ends it.
            let ends = matches!(c, ' ' | '\t' | '\r' | '\n' | ';') || c == '{' && !after_dollar;
            if ends {
                break;
            }
            self.next();
            after_dollar = c == '$';
            if c == '\\' {
                self.escape(&mut word, line)?;
            } else {
                word.push(c);
            }
        }
        self.check(&word, line)?;
        self.push(Kind::Word(word), line);
        Ok(())
    }

    /// After a backslash: quotes and backslashes stand for themselves, `\t`, `\r` and `\n` for what
    /// they do everywhere, and anything else keeps its backslash.
    fn escape(&mut self, word: &mut String, line: usize) -> Result<(), Fault> {
        match self.next() {
            None => return Err(Fault::new(line, "the snippet ends with a backslash")),
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => {
                word.push('\\');
                word.push(c);
            }
        }
        Ok(())
    }

    fn check(&self, word: &str, line: usize) -> Result<(), Fault> {
        let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
        if word.contains(odd) {
            return Err(Fault::new(line, "a text holds control characters"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = tokens(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        let word = |token: Token| match token.kind {
            Kind::Word(word) => format!("{}:{word}", token.line),
            Kind::End => ";".to_owned(),
            Kind::Open => "{".to_owned(),
            Kind::Close => "}".to_owned(),
        };
        tokens.into_iter().map(word).collect()
    }

    #[test]
    fn words_end_where_nginx_ends_them() {
        for (text, expected) in [
            ("a b;", &["1:a", "1:b", ";"][..]),
            ("a\n b{c;}", &["1:a", "2:b", "{", "2:c", ";", "}"]),
            ("# only\n a#b;", &["2:a#b", ";"]),
            (r#"a "b;{}' c" 'd"e';"#, &["1:a", "1:b;{}' c", "1:d\"e", ";"]),
            (r#"a "\"\n\t\d\\" ;"#, &["1:a", "1:\"\n\t\\d\\", ";"]),
            (r"a \.php\;b;", &["1:a", r"1:\.php\;b", ";"]),
            ("a ${b}c$d;", &["1:a", "1:${b}c$d", ";"]),
            ("if ($a = \"b\"){c;}", &["1:if", "1:($a", "1:=", "1:b", "1:)", "{", "1:c", ";", "}"]),
            ("a $;", &["1:a", "1:$", ";"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        for bad in ["a \"b", "a 'b\"", r#"a "b"c;"#, "a\\", "a \u{1};"] {
            assert!(tokens(bad).is_err(), "{bad:?}");
        }
        assert!(tokens(&"a".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_cut_or_refused(text in any::<String>()) {
            let _any = tokens(&text);
        }

        #[test]
        fn what_looks_like_a_snippet_is_cut_or_refused(
            text in "(if|set|[a-z$(){};#'\"\\\\ \n=~]){0,60}"
        ) {
            if let Ok(tokens) = tokens(&text) {
                prop_assert!(tokens.len() <= text.len());
                let lines = text.lines().count().max(1);
                prop_assert!(tokens.iter().all(|token| token.line <= lines + 1));
            }
        }

        #[test]
        fn a_quoted_text_comes_back(text in "[a-z \n;{}#$~*.-]{0,30}") {
            let quoted = format!("a \"{text}\";");
            let found = tokens(&quoted).expect("it is well formed");
            prop_assert_eq!(&found[1].kind, &Kind::Word(text));
        }
    }
}
