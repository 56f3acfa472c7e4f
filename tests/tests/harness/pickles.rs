//! Pickles written by hand, for what no Python would write.

/// A dict of the original format, in protocol 2, each value given as opcodes.
pub(crate) struct Dict(Vec<(&'static str, Vec<u8>)>);

/// A value: text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap();
    [b"X", &len.to_le_bytes()[..], text.as_bytes()].concat()
}

/// A value: a small number.
pub(crate) fn int(n: u8) -> Vec<u8> {
    vec![b'K', n]
}

/// A value: a float.
pub(crate) fn float(value: f64) -> Vec<u8> {
    [b"G", &value.to_be_bytes()[..]].concat()
}

/// A value: None.
pub(crate) fn none() -> Vec<u8> {
    b"N".to_vec()
}

impl Dict {
    /// A message as an original client would send it, its checksum not of its content.
    pub(crate) fn message(name: &str, payload: Vec<u8>) -> Self {
        Self(vec![
            ("name", text(name)),
            ("payload", payload),
            ("ack", int(0)),
            ("timestamp", float(1_763_866_000.25)),
            ("checksum", text("00112233445566778899aabbccddeeff")),
        ])
    }

    /// With another value under a key.
    pub(crate) fn with(mut self, key: &str, value: Vec<u8>) -> Self {
        self.0.iter_mut().find(|(k, _)| *k == key).unwrap().1 = value;
        self
    }

    /// Without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.retain(|(k, _)| *k != key);
        self
    }

    /// The pickle.
    pub(crate) fn pickle(&self) -> Vec<u8> {
        let mut out = b"\x80\x02}(".to_vec();
        for (key, value) in &self.0 {
            out.extend(text(key));
            out.extend(value);
        }
        out.extend(b"u.");
        out
    }

    /// A frame with this pickle behind a name.
    pub(crate) fn frame(&self, name: &str) -> Vec<u8> {
        [name.as_bytes(), b"|", &self.pickle()].concat()
    }
}
