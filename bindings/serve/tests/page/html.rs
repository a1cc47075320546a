//! A page as browsers read it.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// An element: its tag, attributes, and all text in it.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub tag: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.attribute("class").unwrap_or("").split(' ').any(|given| given == class)
    }

    /// It and all that is in it, in order.
    pub(crate) fn all(&self) -> Vec<&Element> {
        let inner = self.children.iter().flat_map(|child| child.all());
        std::iter::once(self).chain(inner).collect()
    }

    /// All of this tag in it.
    pub(crate) fn tags(&self, tag: &str) -> Vec<&Element> {
        self.all().into_iter().filter(|element| element.tag == tag).collect()
    }

    pub(crate) fn with_id(&self, id: &str) -> Option<&Element> {
        self.all().into_iter().find(|element| element.attribute("id") == Some(id))
    }

    pub(crate) fn with_class(&self, class: &str) -> Vec<&Element> {
        self.all().into_iter().filter(|element| element.has_class(class)).collect()
    }

    /// Its text, with single blanks.
    pub(crate) fn words(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The rows of its tables, each with its cells' words.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let bodies = self.tags("tbody");
        let rows = bodies.iter().flat_map(|body| body.tags("tr"));
        let cells = |row: &Element| row.children.iter().map(Element::words).collect();
        rows.map(cells).collect()
    }
}

/// Reads a page. What is not valid is an error of the page.
pub(crate) fn parse(text: &str) -> Element {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(text);
    assert_eq!(dom.errors.borrow().as_slice(), [""; 0], "{text}");
    element(&dom.document)
}

fn element(node: &Handle) -> Element {
    let (tag, attributes) = match &node.data {
        NodeData::Element { name, attrs, .. } => {
            let attrs = attrs.borrow();
            let attributes = attrs
                .iter()
                .map(|attribute| (attribute.name.local.to_string(), attribute.value.to_string()))
                .collect();
            (name.local.to_string(), attributes)
        }
        _ => (String::new(), Vec::new()),
    };
    let mut text = String::new();
    let mut children = Vec::new();
    for child in node.children.borrow().iter() {
        match &child.data {
            NodeData::Text { contents } => text.push_str(&contents.borrow()),
            NodeData::Element { .. } => {
                let child = element(child);
                text.push_str(&child.text);
                children.push(child);
            }
            _ => {}
        }
    }
    Element { tag, attributes, text, children }
}
