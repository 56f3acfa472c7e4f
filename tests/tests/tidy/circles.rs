//! No module imports itself in a circle. A type whose methods stand in several files counts as one module.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::modules::{Module, modules, modules_in, starts_with};
use super::{quoted, table};

/// A type whose methods stand in several files, as the table of `docs/architecture.md` has it.
struct Spread {
    name: String,
    defined_in: String,
    also_in: Vec<String>,
}

fn spread_types() -> Vec<Spread> {
    let mut types = Vec::new();
    for row in table("| type | is defined in | has methods in | because |") {
        let [name, defined_in, also_in, reason] = &row[..] else { panic!("no row: {row:?}") };
        assert!(!reason.trim().is_empty(), "{name} has no reason");
        let one = |cell| quoted(cell).pop().unwrap();
        let (name, defined_in) = (one(name), one(defined_in));
        types.push(Spread { name, defined_in, also_in: quoted(also_in) });
    }
    types
}

/// The types for which a file has methods: `impl<T> Type<T> {`, but no `impl Trait for Type {`.
fn extended(code: &str) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for line in code.lines() {
        let Some(rest) = line.strip_prefix("impl") else { continue };
        let rest = match rest.strip_prefix('<') {
            Some(parameters) => behind_parameters(parameters),
            None => rest,
        };
        if !rest.contains(" for ") {
            let rest = rest.trim_start();
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            types.insert(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    types.remove("");
    types
}

/// What follows the `>` that belongs to a `<` before.
fn behind_parameters(code: &str) -> &str {
    let mut depth = 1;
    for (at, c) in code.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[at + 1..];
        }
    }
    ""
}

#[test]
fn the_reader_of_methods_finds_them() {
    let code =
        "impl A {\nimpl<E: B<C>> D<E> {\nimpl E for F {\nimpl G<H>\nwhere\n    fn impl_i() {";
    assert_eq!(extended(code), ["A", "D", "G"].map(ToOwned::to_owned).into());
}

fn defines(module: &Module, name: &str) -> bool {
    module.code.lines().any(|line| {
        // `pub(in a::b) struct C`.
        let line = line
            .strip_prefix("pub(")
            .and_then(|rest| rest.split_once(") "))
            .map_or(line, |(_, rest)| rest);
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let kind = words.find(|word| !["", "pub"].contains(word));
        matches!(kind, Some("struct" | "enum")) && words.next() == Some(name)
    })
}

#[test]
fn methods_stand_beside_their_type_or_in_the_table() {
    let modules = modules();
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for module in &modules {
        for name in extended(&module.code) {
            // What is defined in the module around this one is within reach anyway.
            let is_near = modules
                .iter()
                .filter(|other| starts_with(&module.path.join("::"), &other.path.join("::")))
                .any(|other| defines(other, &name));
            if !is_near {
                found.entry(name).or_default().insert(module.path.join("::"));
            }
        }
    }
    let expected: BTreeMap<_, BTreeSet<_>> = spread_types()
        .into_iter()
        .map(|spread| {
            let home = modules.iter().find(|module| module.path.join("::") == spread.defined_in);
            assert!(home.is_some_and(|home| defines(home, &spread.name)), "{}", spread.name);
            (spread.name, spread.also_in.into_iter().collect())
        })
        .collect();
    assert_eq!(found, expected);
}

/// Fails when a module imports, however indirectly, one that imports it. `place` is the module that a module
/// counts as a part of, or its own.
#[track_caller]
fn check_circles(modules: &[Module], place: impl Fn(&str) -> String) {
    let places: Vec<_> = modules.iter().map(|module| place(&module.path.join("::"))).collect();
    let mut edges = BTreeMap::<&str, HashSet<&str>>::new();
    for (module, from) in modules.iter().zip(&places) {
        for used in module.uses() {
            // What is named most exactly: `a::b` for `a::b::Type`.
            let known = (0..modules.len()).filter(|at| modules[*at].names(&used));
            if let Some(at) = known.max_by_key(|at| modules[*at].path.len())
                && places[at] != *from
            {
                edges.entry(from).or_default().insert(&places[at]);
            }
        }
    }
    let within: Vec<_> = edges
        .keys()
        .filter(|start| {
            let (mut seen, mut next) = (HashSet::new(), vec![**start]);
            while let Some(at) = next.pop() {
                for &to in edges.get(at).into_iter().flatten() {
                    if to == **start {
                        return true;
                    }
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
            false
        })
        .collect();
    assert!(within.is_empty(), "in a circle of imports: {within:?}");
}

#[test]
fn no_module_of_a_program_imports_itself_in_a_circle() {
    for source in [
        "loadgen/src",
        "cli/src",
        "server/src",
        "bench/results/src",
        "bench/gate/src",
        "bench/delivery/src",
    ] {
        check_circles(&modules_in(source), ToOwned::to_owned);
    }
}

#[test]
fn no_module_of_the_engine_imports_itself_in_a_circle() {
    let spread = spread_types();
    check_circles(&modules(), |module| {
        let part = spread.iter().find(|spread| spread.also_in.iter().any(|part| part == module));
        part.map_or(module, |spread| &spread.defined_in).to_owned()
    });
}
