//! Writes small maps in Erlang's external term format: the data of events that native code makes.

/// A map in external term format: first the number of entries, then the entries.
pub struct MapWriter {
    bytes: Vec<u8>,
}

impl MapWriter {
    /// A map of exactly this many entries, to be written next.
    pub fn new(entries: u32) -> Self {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(&[131, 116]);
        bytes.extend_from_slice(&entries.to_be_bytes());
        Self { bytes }
    }

    /// Entries alone, to be put into maps with [`MapWriter::raw`].
    pub fn entries() -> Self {
        Self { bytes: Vec::new() }
    }

    /// An integer under an atom key.
    pub fn integer(&mut self, key: &[u8], value: u64) -> &mut Self {
        self.key(key);
        if let Ok(small) = i32::try_from(value) {
            self.bytes.push(98);
            self.bytes.extend_from_slice(&small.to_be_bytes());
        } else {
            self.bytes.extend_from_slice(&[110, 8, 0]);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// An atom under an atom key.
    pub fn atom(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        self.key(key);
        self.key(value);
        self
    }

    /// A binary under an atom key.
    pub fn text(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        self.key(key);
        self.bytes.push(109);
        self.bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    /// Entries that were written before.
    pub fn raw(&mut self, entries: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(entries);
        self
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An atom of at most 255 characters, as every atom is; its bytes may be up to 1,020.
    fn key(&mut self, name: &[u8]) {
        if let Ok(length) = u8::try_from(name.len()) {
            self.bytes.extend_from_slice(&[119, length]);
        } else {
            self.bytes.push(118);
            self.bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        }
        self.bytes.extend_from_slice(name);
    }
}
