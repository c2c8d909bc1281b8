//! Writes markup. Names of tags and attributes are our own; whatever else comes in is escaped, so no
//! text of a result can become markup.

/// A page that is being written.
pub(super) struct Page {
    out: String,
    /// The tags that are open, for [`Page::end`].
    open: Vec<&'static str>,
}

/// An attribute and its value; without a value it is left out.
pub(super) type Attribute<'a> = (&'static str, &'a str);

impl Page {
    /// Nothing is written.
    pub(super) fn new() -> Page {
        Page { out: String::new(), open: Vec::new() }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }

    /// How many bytes were written.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Text of anybody's.
    pub(super) fn text(&mut self, text: &str) {
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
    pub(super) fn begin(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.head(tag, attributes);
        self.open.push(tag);
    }

    /// Ends the element that was begun last.
    pub(super) fn end(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.out.push_str("</");
            self.out.push_str(tag);
            self.out.push('>');
        }
    }

    /// An element that holds a text.
    pub(super) fn element(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) {
        self.begin(tag, attributes);
        self.text(text);
        self.end();
    }

    /// An element without content.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
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
