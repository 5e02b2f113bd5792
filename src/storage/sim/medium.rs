//! The disk itself: files, directories, and the changes of names that are not durable yet.
//!
//! Each directory makes its changes durable in their order, but directories do not wait for one another, nor
//! for the bytes of files: after a power failure a name may be there whose file has nothing in it. A change
//! that concerns two directories (a file moved between them) is in both or in neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::Content;
use crate::storage::Failure;

pub(super) type Answer<T> = Result<T, Failure>;

/// A file's or directory's number; it is never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(usize);

pub(super) const ROOT: NodeId = NodeId(0);

/// Copies share everything that neither changes.
#[derive(Debug, Clone)]
pub(super) struct Medium {
    nodes: Vec<Node>,
    /// Changes of names that are not durable yet, in order.
    journal: Vec<Arc<Rename>>,
    /// The bytes written last, which may be there in part when the process is killed.
    pub(super) writing: Option<Writing>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Arc<Content>),
    Directory(Arc<Directory>),
}

type Entries = BTreeMap<String, NodeId>;

#[derive(Debug, Clone, Default)]
struct Directory {
    now: Entries,
    durable: Entries,
}

/// A change of names: what is under one name goes, or comes under another, or comes new.
#[derive(Debug)]
pub(super) struct Rename {
    from: Option<(NodeId, String)>,
    to: Option<(NodeId, String, NodeId)>,
}

#[derive(Debug, Clone)]
pub(super) struct Writing {
    pub(super) node: NodeId,
    pub(super) before: Arc<Content>,
    pub(super) offset: usize,
    pub(super) bytes: Arc<[u8]>,
    pub(super) mapped: bool,
}

impl Rename {
    fn directories(&self) -> impl Iterator<Item = NodeId> + '_ {
        let from = self.from.iter().map(|(directory, _)| *directory);
        from.chain(self.to.iter().map(|(directory, _, _)| *directory))
    }
}

impl Medium {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Directory(Arc::default())], journal: Vec::new(), writing: None }
    }

    /// What is under this path.
    pub(super) fn find(&self, path: &Path) -> Answer<NodeId> {
        let mut found = vec![ROOT];
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let directory = self.directory(found.last().copied().unwrap_or(ROOT))?;
                    let name = name.to_str().ok_or(Failure::NotFound)?;
                    found.push(*directory.now.get(name).ok_or(Failure::NotFound)?);
                }
                Component::ParentDir if found.len() > 1 => {
                    found.pop();
                }
                _ => {}
            }
        }
        Ok(found.last().copied().unwrap_or(ROOT))
    }

    /// The directory and the name in it that this path means.
    fn place(&self, path: &Path) -> Answer<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(Failure::IsADirectory)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.directory(parent)?;
        Ok((parent, name.to_owned()))
    }

    pub(super) fn find_file(&self, path: &Path) -> Answer<NodeId> {
        let node = self.find(path)?;
        self.content(node).map(|_| node)
    }

    pub(super) fn find_directory(&self, path: &Path) -> Answer<NodeId> {
        let node = self.find(path)?;
        self.directory(node).map(|_| node)
    }

    pub(super) fn names(&self, directory: NodeId) -> Answer<Vec<String>> {
        Ok(self.directory(directory)?.now.keys().cloned().collect())
    }

    pub(super) fn content(&self, node: NodeId) -> Answer<&Arc<Content>> {
        match self.nodes.get(node.0) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Directory(_)) => Err(Failure::IsADirectory),
            None => Err(Failure::NotFound),
        }
    }

    pub(super) fn content_mut(&mut self, node: NodeId) -> Answer<&mut Content> {
        match self.nodes.get_mut(node.0) {
            Some(Node::File(content)) => Ok(Arc::make_mut(content)),
            Some(Node::Directory(_)) => Err(Failure::IsADirectory),
            None => Err(Failure::NotFound),
        }
    }

    fn directory(&self, node: NodeId) -> Answer<&Directory> {
        match self.nodes.get(node.0) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Failure::NotADirectory),
            None => Err(Failure::NotFound),
        }
    }

    fn directory_mut(&mut self, node: NodeId) -> Option<&mut Directory> {
        match self.nodes.get_mut(node.0) {
            Some(Node::Directory(directory)) => Some(Arc::make_mut(directory)),
            _ => None,
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> Answer<NodeId> {
        let (parent, name) = self.place(path)?;
        if self.directory(parent)?.now.contains_key(&name) {
            return Err(Failure::AlreadyExists);
        }
        Ok(self.add(parent, name, Node::File(Arc::default())))
    }

    pub(super) fn create_directories(&mut self, path: &Path) -> Answer<()> {
        let mut above: Vec<&Path> = path.ancestors().filter(|path| path.file_name().is_some()).collect();
        above.reverse();
        for path in above {
            match self.find(path) {
                Ok(node) => self.directory(node).map(|_| ()).map_err(|_| Failure::AlreadyExists)?,
                Err(Failure::NotFound) => {
                    let (parent, name) = self.place(path)?;
                    self.add(parent, name, Node::Directory(Arc::default()));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn add(&mut self, parent: NodeId, name: String, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        self.change(Rename { from: None, to: Some((parent, name, id)) });
        id
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Answer<()> {
        let node = self.find(from)?;
        let (old, new) = (self.place(from)?, self.place(to)?);
        if let Some(&replaced) = self.directory(new.0)?.now.get(&new.1) {
            if replaced == node {
                return Ok(());
            }
            match (self.directory(node), self.directory(replaced)) {
                (Ok(_), Ok(there)) if !there.now.is_empty() => return Err(Failure::NotEmpty),
                (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
                (Ok(_), Err(_)) => return Err(Failure::NotADirectory),
                (Err(_), Ok(_)) => return Err(Failure::IsADirectory),
            }
        }
        if self.within(new.0, node) {
            return Err(Failure::Other("a directory cannot be moved into itself".to_owned()));
        }
        self.change(Rename { from: Some(old), to: Some((new.0, new.1, node)) });
        Ok(())
    }

    /// Whether `node` is `above` or somewhere below it.
    fn within(&self, node: NodeId, above: NodeId) -> bool {
        let below = |directory: &Directory| directory.now.values().any(|child| self.within(node, *child));
        node == above || self.directory(above).is_ok_and(below)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Answer<()> {
        self.find_file(path)?;
        let from = Some(self.place(path)?);
        self.change(Rename { from, to: None });
        Ok(())
    }

    pub(super) fn remove_directory(&mut self, path: &Path) -> Answer<()> {
        let node = self.find_directory(path)?;
        let from = Some(self.place(path)?);
        if !self.directory(node)?.now.is_empty() {
            return Err(Failure::NotEmpty);
        }
        self.change(Rename { from, to: None });
        Ok(())
    }

    fn change(&mut self, change: Rename) {
        self.apply(&change, |directory| &mut directory.now);
        self.journal.push(Arc::new(change));
    }

    fn apply(&mut self, change: &Rename, entries: impl Fn(&mut Directory) -> &mut Entries) {
        if let Some((directory, name)) = &change.from
            && let Some(directory) = self.directory_mut(*directory)
        {
            entries(directory).remove(name);
        }
        if let Some((directory, name, node)) = &change.to
            && let Some(directory) = self.directory_mut(*directory)
        {
            entries(directory).insert(name.clone(), *node);
        }
    }

    /// Makes the changes of this directory's names durable, with those that they cannot come before.
    pub(super) fn sync_directory(&mut self, directory: NodeId) {
        let mut synced = BTreeSet::from([directory]);
        let mut now_durable = vec![false; self.journal.len()];
        for (change, durable) in self.journal.iter().zip(&mut now_durable).rev() {
            *durable = change.directories().any(|directory| synced.contains(&directory));
            if *durable {
                synced.extend(change.directories());
            }
        }
        self.settle(&now_durable);
    }

    /// Makes those changes durable that are marked and leaves the others as they are.
    fn settle(&mut self, durable: &[bool]) {
        let journal = std::mem::take(&mut self.journal);
        for (change, durable) in journal.into_iter().zip(durable) {
            if *durable {
                self.apply(&change, |directory| &mut directory.durable);
            } else {
                self.journal.push(change);
            }
        }
    }

    /// The directories with changes that are not durable, and how many each has.
    pub(super) fn unsettled(&self) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for change in &self.journal {
            for directory in change.directories().collect::<BTreeSet<_>>() {
                *counts.entry(directory).or_default() += 1;
            }
        }
        counts
    }

    /// The names after a power failure: of each directory's changes as many as given here are on the disk.
    pub(super) fn names_survive(&mut self, mut counts: BTreeMap<NodeId, usize>) {
        let mut durable = Vec::with_capacity(self.journal.len());
        for change in &self.journal {
            let directories: BTreeSet<NodeId> = change.directories().collect();
            let kept =
                directories.iter().all(|directory| counts.get(directory).is_some_and(|left| *left > 0));
            for directory in directories {
                let left = counts.entry(directory).or_default();
                // Once one change of a directory is lost, the later ones are.
                *left = if kept { *left - 1 } else { 0 };
            }
            durable.push(kept);
        }
        self.settle(&durable);
        self.journal.clear();
        for node in &mut self.nodes {
            if let Node::Directory(directory) = node
                && directory.now != directory.durable
            {
                let directory = Arc::make_mut(directory);
                directory.now = directory.durable.clone();
            }
        }
    }

    /// Everything that has a name, by path.
    pub(super) fn walk(&self) -> Vec<(String, NodeId)> {
        let mut found = vec![(String::new(), ROOT)];
        let mut next = 0;
        while let Some((path, node)) = found.get(next).cloned() {
            if let Ok(directory) = self.directory(node) {
                found.extend(directory.now.iter().map(|(name, node)| (format!("{path}/{name}"), *node)));
            }
            next += 1;
        }
        found
    }

    /// The files that have a name.
    pub(super) fn files(&self) -> Vec<NodeId> {
        let nodes = self.walk().into_iter().map(|(_, node)| node);
        nodes.filter(|node| self.content(*node).is_ok()).collect()
    }

    pub(super) fn replace(&mut self, node: NodeId, content: Content) {
        if let Some(node @ Node::File(_)) = self.nodes.get_mut(node.0) {
            *node = Node::File(Arc::new(content));
        }
    }

    /// Writes, remembering what a kill in the middle of it would leave.
    pub(super) fn write(&mut self, node: NodeId, offset: usize, bytes: &[u8], mapped: bool) -> Answer<()> {
        let before = self.content(node)?.clone();
        self.content_mut(node)?.write(offset, bytes);
        self.writing = Some(Writing { node, before, offset, bytes: bytes.into(), mapped });
        Ok(())
    }

    /// A number that differs, as good as always, when names or bytes differ.
    pub(super) fn fingerprint(&self) -> u64 {
        use super::random::mix;
        let mut sum = 0_u64;
        for (path, node) in self.walk() {
            let name = path.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
            let content = self.content(node).map_or(1, |content| content.fingerprint());
            sum = sum.wrapping_add(mix(name ^ content.rotate_left(17)));
        }
        sum
    }
}
