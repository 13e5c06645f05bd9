//! The direction of dependencies: a module imports only from floors below its own, by the table in `src/lib.rs`; and the
//! parts of a module do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A path in the crate without its `crate::`: `["store", "rows", "OutboxRow"]`.
type ItemPath = Vec<String>;

/// A file of `src`, with all paths that its production code names.
struct Source {
    module: ItemPath,
    file: PathBuf,
    names: BTreeSet<ItemPath>,
}

/// Collects the paths that begin with `crate`, `super` or `self`.
struct Names {
    module: ItemPath,
    found: BTreeSet<ItemPath>,
    /// Modules in files of their own, whether only tests have them.
    children: Vec<(String, bool)>,
}

impl Names {
    fn note(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else {
            return;
        };
        let mut path = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            _ => return,
        };
        for segment in &segments[1..] {
            if segment == "super" {
                path.pop();
            } else {
                path.push(segment.clone());
            }
        }
        self.found.insert(path);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(before, tree);
                }
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let test = |list: &syn::MetaList| list.tokens.to_string() == "test";
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(test)
    })
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let for_tests = is_for_tests(&item.attrs);
        if item.content.is_none() {
            self.children.push((item.ident.to_string(), for_tests));
        } else if !for_tests {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let segments: Vec<String> = segments.map(|it| it.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    /// Within a macro there are only tokens: `crate :: store :: rows`.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let tokens = item.tokens.to_string();
        let words: Vec<&str> = tokens.split_whitespace().collect();
        for (index, word) in words.iter().enumerate() {
            if !matches!(*word, "crate" | "super" | "self") {
                continue;
            }
            let rest = words[index + 1..].chunks(2);
            let rest = rest.take_while(|pair| pair.len() == 2 && pair[0] == "::");
            let rest = rest.map(|pair| pair[1]);
            let segments = std::iter::once(*word).chain(rest);
            let segments: Vec<String> = segments.map(str::to_owned).collect();
            self.note(&segments);
        }
        visit::visit_macro(self, item);
    }
}

/// Reads a file and the files of its modules, but for those that only tests have.
fn read(file: PathBuf, module: &[String], sources: &mut Vec<Source>) {
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let mut names = Names {
        module: module.to_vec(),
        found: BTreeSet::new(),
        children: Vec::new(),
    };
    names.visit_file(&syn::parse_file(&text).expect("a file that compiles"));
    let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "mod") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    for (child, for_tests) in names.children {
        if for_tests {
            continue;
        }
        let alone = folder.join(format!("{child}.rs"));
        let file = if alone.exists() {
            alone
        } else {
            folder.join(&child).join("mod.rs")
        };
        read(file, &[module, &[child]].concat(), sources);
    }
    sources.push(Source {
        module: module.to_vec(),
        file,
        names: names.found,
    });
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    read(lib, &[], &mut sources);
    assert!(sources.len() > 100, "{} files were read", sources.len());
    sources
}

/// Which floor each module is on: the rows of the table in `src/lib.rs`, the lowest floor first.
fn floors() -> BTreeMap<String, usize> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let lib = std::fs::read_to_string(lib).unwrap();
    let rows = lib.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("//! | ")?.split(" | ");
        let floor: usize = cells.next()?.trim().parse().ok()?;
        Some((floor, cells.next()?))
    });
    let mut floors = BTreeMap::new();
    for (floor, modules) in rows {
        for module in modules.split(", ") {
            let name = module.trim().trim_matches(['[', ']', '`']);
            let twice = floors.insert(name.to_owned(), floor);
            assert_eq!(twice, None, "{name} is in the table twice");
        }
    }
    floors
}

#[test]
fn a_module_imports_only_from_the_floors_below() {
    let floors = floors();
    let sources = sources();
    let modules: BTreeSet<&String> = sources.iter().filter_map(|it| it.module.first()).collect();
    let listed: BTreeSet<&String> = floors.keys().collect();
    assert_eq!(listed, modules, "the table in src/lib.rs and the modules");
    let mut wrong = Vec::new();
    for source in &sources {
        let Some(from) = source.module.first() else {
            continue;
        };
        let imported = source.names.iter().filter_map(|name| name.first());
        for to in imported.collect::<BTreeSet<_>>() {
            // Macros of the crate are at its root and no module.
            let Some(floor) = floors.get(to) else {
                continue;
            };
            if from != to && *floor >= floors[from] {
                wrong.push(format!("{}: {from} imports {to}", source.file.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that do not point down:\n{}",
        wrong.join("\n")
    );
}

/// For each module that has parts: which part names which other.
fn parts(sources: &[Source]) -> BTreeMap<ItemPath, BTreeMap<String, BTreeSet<String>>> {
    let mut parts: BTreeMap<ItemPath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in sources {
        for depth in 1..source.module.len() {
            let (parent, rest) = source.module.split_at(depth);
            let own = parts.entry(parent.to_vec()).or_default();
            own.entry(rest[0].clone()).or_default();
        }
    }
    for source in sources {
        for depth in 1..source.module.len() {
            let (parent, rest) = source.module.split_at(depth);
            let its = parts.get_mut(parent).expect("noted above");
            let named: BTreeSet<String> = source
                .names
                .iter()
                .filter(|name| name.starts_with(parent))
                .filter_map(|name| name.get(depth))
                .filter(|part| **part != rest[0] && its.contains_key(*part))
                .cloned()
                .collect();
            its.entry(rest[0].clone()).or_default().extend(named);
        }
    }
    parts
}

/// A path from a part back to itself.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        graph: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let here = way.last().expect("begun").clone();
        for next in &graph[&here] {
            if let Some(begin) = way.iter().position(|part| part == next) {
                return Some([&way[begin..], std::slice::from_ref(next)].concat());
            }
            if !done.contains(next) {
                way.push(next.clone());
                if let Some(circle) = walk(graph, way, done) {
                    return Some(circle);
                }
                way.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|part| walk(graph, &mut vec![part.clone()], &mut done))
}

#[test]
fn parts_of_a_module_do_not_import_each_other_in_a_circle() {
    let circles: Vec<String> = parts(&sources())
        .iter()
        .filter_map(|(module, graph)| {
            let circle = circle(graph)?.join(" → ");
            Some(format!("{}: {circle}", module.join("::")))
        })
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found_and_trees_are_not_reported() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*to).to_owned()).or_default();
            let tos = graph.entry((*from).to_owned()).or_default();
            tos.insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    let found = circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(found.unwrap(), ["b", "c", "b"]);
}
