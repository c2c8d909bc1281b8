//! Writes markup. Names of tags and attributes are our own; whatever else comes in is escaped, so no
//! text of a result can become markup.

/// A page that is being written.
pub(crate) struct Page {
    out: String,
    /// The tags that are open, for [`Page::end`].
    open: Vec<&'static str>,
}

/// An attribute and its value; without a value it is left out.
pub(crate) type Attribute<'a> = (&'static str, &'a str);

impl Page {
    /// Nothing is written.
    pub(crate) fn new() -> Page {
        Page { out: String::new(), open: Vec::new() }
    }

    /// A page of this title, up to where its content begins.
    pub(crate) fn of(title: &str) -> Page {
        let mut page = Page::new();
        page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // The page holds texts that others wrote: should one ever get past the escaping, nothing runs it.
        page.raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        );
        page.raw("<meta name=\"generator\" content=\"cowcheck ");
        page.text(env!("CARGO_PKG_VERSION"));
        page.raw("\">\n");
        page.element("title", &[], title);
        page.raw("\n<style>\n");
        page.raw(include_str!("style.css"));
        page.raw("</style>\n</head>\n<body>\n");
        page
    }

    /// What was written.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }

    /// How many bytes were written.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Markup of our own.
    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Text of anybody's.
    pub(crate) fn text(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                // No control character but these may stand in a page.
                char if char.is_control() && !matches!(char, '\n' | '\t') => self.out.push(' '),
                // What would turn round the order of what is shown.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.out.push('\u{fffd}'),
                char => self.out.push(char),
            }
        }
    }

    /// Begins an element.
    pub(crate) fn begin(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.head(tag, attributes);
        self.open.push(tag);
    }

    /// Ends the element that was begun last.
    pub(crate) fn end(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.out.push_str("</");
            self.out.push_str(tag);
            self.out.push('>');
        }
    }

    /// An element that holds a text.
    pub(crate) fn element(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) {
        self.begin(tag, attributes);
        self.text(text);
        self.end();
    }

    /// An element without content.
    pub(crate) fn empty(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.head(tag, attributes);
        // In SVG an element is closed by this; in HTML it does no harm to those that have no content.
        self.out.truncate(self.out.len() - 1);
        self.out.push_str("/>");
    }

    fn head(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.text(value);
            self.out.push('"');
        }
        self.out.push('>');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut page = Page::new();
        page.element("p", &[("title", "\"><script>")], "<script>alert('1 & 2')</script>\u{1b}\u{202e}");
        assert_eq!(
            page.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;script&gt;alert(&#39;1 &amp; 2&#39;)&lt;/script&gt; \u{fffd}</p>"
        );
    }

    #[test]
    fn what_is_open_is_closed() {
        let mut page = Page::new();
        page.begin("a", &[]);
        page.begin("b", &[]);
        page.empty("c", &[("x", "1")]);
        assert_eq!(page.finish(), "<a><b><c x=\"1\"/></b></a>");
    }
}
