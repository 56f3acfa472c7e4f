use super::*;
use crate::curve::KeyPair;

#[test]
fn a_text_is_a_name_or_a_pattern() {
    let fits = |names: Names, name: &str| {
        Permissions::none().publish(names).allows(Operation::Publish, name)
    };
    assert!(fits("orders.*".into(), "orders.new") && !fits("orders.*".into(), "orders"));
    assert!(fits("a*".into(), "a*") && !fits("a*".into(), "ab"));
    assert!(fits(Names::name("a.*"), "a.*") && !fits(Names::name("a.*"), "a.b"));
    assert!(fits(Names::prefix("a"), "ab") && !fits(Names::prefix("a"), "b"));
    assert!(fits(Names::prefix(""), "b") && fits(">".into(), "b"));
}

#[test]
fn nothing_is_allowed_that_is_not_said() {
    let (alice, bob) = (KeyPair::generate().public(), KeyPair::generate().public());
    let access = Access::new()
        .key(alice, Permissions::none().publish("a").subscribe("b").group("c"))
        .others(Permissions::none().subscribe("d"));
    let allows = |identity, operation, name| access.of(&identity).allows(operation, name);
    for (operation, name) in
        [(Operation::Publish, "a"), (Operation::Subscribe, "b"), (Operation::Group, "c")]
    {
        for other in [Operation::Publish, Operation::Subscribe, Operation::Group] {
            assert_eq!(allows(Identity::Key(alice), other, name), other == operation);
            assert!(!allows(Identity::Key(bob), other, name));
        }
    }
    assert!(!access.of(&Identity::Key(alice)).administers());
    for identity in [Identity::Key(bob), Identity::Nobody] {
        assert!(allows(identity, Operation::Subscribe, "d"));
    }
    assert!(!allows(Identity::Key(alice), Operation::Subscribe, "d"));
    assert_eq!(*Access::new().of(&Identity::Nobody), Permissions::none().into());
}

#[test]
fn a_change_keeps_what_is_as_wide_or_wider() {
    let key = KeyPair::generate().public();
    let access = |permissions| Access::new().key(key, permissions);
    let keeps = |before, after| access(after).keeps(&Identity::Key(key), &access(before));
    let some = || Permissions::none().publish("a.*").subscribe("a.b").group("g");
    assert!(keeps(some(), some()) && keeps(some(), Permissions::all()));
    assert!(keeps(some(), some().publish("b").administer()));
    assert!(!keeps(some().administer(), some()));
    assert!(!keeps(Permissions::all(), some()));
    assert!(!keeps(some(), Permissions::none().publish("a.*").subscribe("a.b")));
    assert!(!keeps(some(), Permissions::none().publish("a.b").subscribe("a.b").group("g")));
    assert!(!Access::new().keeps(&Identity::Key(key), &access(some())));
    assert!(access(some()).keeps(&Identity::Nobody, &Access::new()));
}

#[test]
fn names_that_nothing_can_have_are_refused() {
    let check = |names: &str| Access::new().others(Permissions::none().group(names)).check();
    assert_eq!(check("a.>"), Ok(()));
    for names in ["", "a..>", ">.a", "a|b", "a\n"] {
        let error = check(names).unwrap_err();
        let AccessError::Names { names: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!(named, names);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn a_refusal_shows_some_of_what_is_allowed() {
    let shown = |permissions: &Permissions| permissions.shown(Operation::Publish);
    assert_eq!(shown(&Permissions::none().subscribe("a")), "nothing");
    let some = Permissions::none().publish("a.>").publish("b").publish(Names::prefix("c"));
    assert_eq!(shown(&some), "the pattern 'a.>', the name 'b', the prefix 'c'");
    let many = (0..10).fold(Permissions::none(), |many, n| many.publish(n.to_string()));
    assert!(shown(&many).ends_with("the name '7' and 2 more"), "{}", shown(&many));
}

#[test]
fn users_are_compared_with_something_whether_they_are_known_or_not() {
    let (hash, other) = (PasswordHash::cheap("a"), PasswordHash::cheap("b"));
    let shop = || Permissions::none().publish("a");
    let access = Access::new().user("shop", hash.clone(), shop()).user("stock", other, shop());
    assert_eq!(Access::new().password_of("shop"), None);
    assert_eq!(access.password_of("shop"), Some((hash.clone(), true)));
    assert_eq!(access.password_of("nobody"), Some((hash.clone(), false)));
    let user = Identity::User("shop".into());
    assert!(access.of(&user).allows(Operation::Publish, "a"));
    assert!(access.keeps(&user, &access));
    let changed = access.clone().user("shop", PasswordHash::cheap("a"), Permissions::all());
    assert!(!changed.keeps(&user, &access), "he has to say his new password");
    assert!(!Access::new().keeps(&user, &access));
    for name in ["", "a\n", &"a".repeat(256)] {
        let wrong = Access::new().user(name, hash.clone(), shop()).check().unwrap_err();
        assert_eq!(wrong, AccessError::User(name.to_owned()));
        assert!(!wrong.to_string().contains('\n'));
    }
}

#[test]
fn hashes_that_take_different_times_are_refused_as_they_tell_users_from_others() {
    let with = |hash: PasswordHash| {
        let first = PasswordHash::of("a");
        Access::new().user("a", first, Permissions::none()).user("b", hash, Permissions::none())
    };
    assert_eq!(with(PasswordHash::of("b")).check(), Ok(()));
    let error = with(PasswordHash::cheap("b")).check().unwrap_err().to_string();
    let named =
        ["'a' and 'b'", "v=19$m=19456,t=2,p=1 and v=19$m=8,t=1,p=1", "mezzenger hash-password"];
    assert!(named.iter().all(|it| error.contains(it)), "{error}");
}
