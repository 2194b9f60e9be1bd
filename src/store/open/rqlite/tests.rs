use super::*;
use crate::store::error::Code;
use crate::store::{Address, EngineKind};

/// A connection string, and nothing in the environment.
fn parsed(connection: &str) -> RqlitePlace {
    parse_in(connection, &|_| None).unwrap()
}

fn refusal(connection: &str) -> Error {
    parse_in(connection, &|_| None).unwrap_err()
}

fn nodes(connection: &str) -> Vec<String> {
    parsed(connection).nodes().iter().map(ToString::to_string).collect()
}

/// The proxy of a connection string in an environment of these variables.
fn proxy(connection: &str, variables: &[(&str, &str)]) -> Option<(String, String)> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let place = parse_in(connection, &variable).unwrap();
    place.proxy().map(|(proxy, except)| (proxy.to_owned(), except))
}

#[test]
fn nodes_are_asked_in_the_order_in_which_they_stand() {
    for (connection, expected) in [
        ("http://h", &["h:4001"][..]),
        ("http://h/", &["h:4001"]),
        ("HTTP://H.Example.COM:80", &["h.example.com:80"]),
        ("http://b:4003,a,c:4002/", &["b:4003", "a:4001", "c:4002"]),
        ("http://b:4003,http://a/,HTTP://c:4002", &["b:4003", "a:4001", "c:4002"]),
        ("https://u:p@b:4003,https://a", &["b:4003", "a:4001"]),
        (
            "http://[::1],[2001:DB8:0::7]:5000,10.0.0.1",
            &["[::1]:4001", "[2001:db8::7]:5000", "10.0.0.1:4001"],
        ),
        ("http://bücher.example", &["xn--bcher-kva.example:4001"]),
    ] {
        assert_eq!(nodes(connection), expected, "{connection}");
    }
    let place = parsed("https://[::1]:4002?ca=/x");
    assert_eq!((place.url(&place.nodes()[0]).as_str(), place.is_https()), ("https://[::1]:4002", true));
    assert!(!parsed("http://h").is_https());
}

#[test]
fn a_user_and_a_password_stand_in_front_of_the_hosts_or_behind_them() {
    let credentials = |connection| {
        let place = parsed(connection);
        place.credentials().map(|(user, password)| (user.to_owned(), password.to_owned()))
    };
    for (connection, user, password) in [
        ("http://admin:se%40c%3Aret%2F%3F%25@h", "admin", "se@c:ret/?%"),
        ("http://admin:se:c#ret@h:1,h2", "admin", "se:c#ret"),
        ("http://h?user=admin&password=se%26cret+x", "admin", "se&cret+x"),
        ("http://h?password=a@b&user=%C3%A4", "ä", "a@b"),
        ("http://admin:first@h?password=second", "admin", "second"),
        ("http://admin@h", "admin", ""),
        ("http://admin@h?password=secret", "admin", "secret"),
        ("http://admin:100%@h", "admin", "100%"),
    ] {
        assert_eq!(credentials(connection), Some((user.to_owned(), password.to_owned())), "{connection}");
    }
    assert_eq!(credentials("http://h"), None);
    assert_eq!(credentials("http://@h?user=&password="), None);
}

#[test]
fn a_relative_file_is_the_one_of_this_directory() {
    let here = std::env::current_dir().unwrap();
    let place = parsed("https://h?ca=ca.crt&cert=/etc/me%20too.crt&key=me.key");
    assert_eq!(place.ca, Some(here.join("ca.crt")));
    assert_eq!(place.certificate, Some(PathBuf::from("/etc/me too.crt")));
    assert_eq!(place.key, Some(here.join("me.key")));
}

#[test]
fn a_place_is_written_as_it_is_read_and_shown_without_its_passwords() {
    for connection in [
        "http://u:geheim%25@h:1",
        "https://u:geheim%25%2C%2F%3F@[::1]:6001,h2?ca=/a%26b&cert=/c&key=/d",
        "http://h,g?user=u&password=geheim%25",
        "http://h?user=u&password=geheim%25&proxy=http://p:geheim%25@proxy:3128&no_proxy=a,b",
    ] {
        let place = parsed(connection);
        assert_eq!(parsed(&place.connection()), place, "{connection}");
        let address = Address::parse(EngineKind::Rqlite, connection).unwrap();
        assert_eq!(Address::parse(EngineKind::Rqlite, &address.connection()).unwrap(), address);
        // What a daemon tells names the same store.
        let told = Address::told(EngineKind::Rqlite, &address.to_string()).unwrap();
        assert_eq!(told.identity(), address.identity(), "{connection}");
        for shown in [format!("{place}"), format!("{place:?}"), place.identity(), format!("{address:?}")] {
            assert!(!shown.contains("geheim") && !shown.contains("proxy"), "{shown}");
        }
        assert!(place.to_string().contains("u:***@"), "{place}");
    }
}

#[test]
fn one_store_has_one_identity_however_it_is_written() {
    let first = parsed("http://u:p@a:4001,b:4002").identity();
    for same in [
        "http://u:other@a:4001,b:4002",
        "http://u@a:4001,b:4002",
        "HTTP://A,B:4002?user=u&password=p",
        "http://b:4002,a?user=u",
        "http://u:p@b:4002,http://a,http://a:4001/",
        "http://u:p@a,b:4002?proxy=http://x:1&no_proxy=b",
    ] {
        assert_eq!(parsed(same).identity(), first, "{same}");
    }
    for other in [
        "http://a:4001,b:4002",
        "http://v:p@a:4001,b:4002",
        "http://u:p@a:4001",
        "http://u:p@a:4001,b:4003",
        "https://u:p@a:4001,b:4002",
        "http://u:p@a:4001,b:4002?ca=/x",
        "http://u:p@a:4001,b:4002?cert=/x&key=/y",
    ] {
        assert_ne!(parsed(other).identity(), first, "{other}");
    }
    assert_eq!(parsed("http://[::1]").identity(), parsed("http://[0:0:0:0:0:0:0:1]:4001").identity());
}

#[test]
fn whatever_is_not_understood_is_refused_by_its_name_and_without_its_value() {
    for (connection, named, hint) in [
        ("geheim", "not a URL", "http://USER"),
        ("localhost:4001", "not a URL", "http://USER"),
        ("postgres://u:geheim@h/d", "http://", "http://USER"),
        ("http://", "a host", "http://USER"),
        ("http://?user=u&password=geheim", "a host", "http://USER"),
        ("http://u:geheim@", "a host", "http://USER"),
        ("http://a,,b", "a host", "http://USER"),
        ("http://ho st", "a host", "http://USER"),
        ("http://h#geheim", "a host", "http://USER"),
        ("http://h\\geheim", "a host", "http://USER"),
        ("http://[::1", "bracket", "http://USER"),
        ("http://[geheim]", "a host", "http://USER"),
        ("http://h:geheim", "a port", "http://USER"),
        ("http://h:0", "a port", "http://USER"),
        ("http://h:65536", "a port", "http://USER"),
        ("http://h/geheim", "a path", "root"),
        ("http://h:4001/db/geheim", "a path", "root"),
        ("http://a,https://b", "another scheme", "http://USER"),
        ("http://h?frob=geheim", "frob", "user, password, ca, cert, key"),
        ("http://h?user", "no value", "http://USER"),
        ("http://h?level=none", "reads at the level", "docs/rqlite.md"),
        ("http://h?password=geheim", "no user", "http://USER"),
        ("http://:geheim@h", "no user", "http://USER"),
        ("https://h?cert=/geheim", "belong together", "http://USER"),
        ("https://h?key=/geheim", "belong together", "http://USER"),
        ("http://h?proxy=socks5://u:geheim@p", "the proxy", "http://HOST:PORT"),
        ("http://h?proxy=http://", "the proxy", "http://HOST:PORT"),
        ("http://u:geheim%00@h", "NUL", "http://USER"),
        ("http://u:%FFgeheim@h", "UTF-8", "http://USER"),
        // A password that was not encoded.
        ("http://admin:geh/eim@host", "an @", "%2F"),
        ("http://admin:geh,eim@host", "an @", "%2C"),
        ("http://admin:se?geheim@host", "an @", "%3F"),
        ("http://admin:12?geheim@host", "an @", "%3F"),
        ("http://admin:12?geheim=x@host", "an @", "%3F"),
        ("http://u:geheim@a,http://u:geheim@b", "an @", "%2C"),
    ] {
        let error = refusal(connection);
        assert_eq!((error.code, error.retry), (Code::BadRequest, false), "{connection}: {error}");
        assert!(error.message.contains(named), "{connection}: {error}");
        assert!(error.hint.as_ref().unwrap().contains(hint), "{connection}: {error:?}");
        assert!(!format!("{error:?}").contains("geheim"), "{connection}: {error:?}");
    }
}

#[test]
fn the_proxy_is_the_one_that_curl_and_go_would_take() {
    const HERE: &str = "localhost,127.0.0.0/8,::1";
    let by = |proxy: &str| Some((proxy.to_owned(), HERE.to_owned()));
    let both = &[("http_proxy", "http://p:1"), ("https_proxy", "https://q:2"), ("ALL_PROXY", "http://r")];
    assert_eq!(proxy("http://h", both), by("http://p:1"));
    assert_eq!(proxy("https://h", both), by("https://q:2"));
    assert_eq!(proxy("https://h", &[("HTTPS_PROXY", "q:2")]), by("http://q:2"));
    assert_eq!(proxy("https://h", &[("http_proxy", "http://p")]), None);
    assert_eq!(proxy("http://h", &[("HTTP_PROXY", "http://p")]), by("http://p"));
    assert_eq!(proxy("http://h", &[("HTTP_PROXY", "http://p"), ("REQUEST_METHOD", "GET")]), None);
    assert_eq!(proxy("http://h", &[("all_proxy", "http://u:p@r:3")]), by("http://u:p@r:3"));
    assert_eq!(proxy("http://h?proxy=127.0.0.1:9", both), by("http://127.0.0.1:9"));
    let except = &[("http_proxy", "p"), ("no_proxy", "a,.b"), ("NO_PROXY", "c")];
    assert_eq!(proxy("http://h", except), Some(("http://p".to_owned(), format!("a,.b,{HERE}"))));
    assert_eq!(proxy("http://h?no_proxy=d", except), Some(("http://p".to_owned(), format!("d,{HERE}"))));
    assert_eq!(proxy("http://h", &[("no_proxy", "a")]), None);
}

#[test]
fn this_machine_is_never_reached_by_a_proxy() {
    let variables = &[("http_proxy", "http://p:1")];
    assert_eq!(proxy("http://localhost,127.0.0.2:4003,[::1]", variables), None);
    assert!(proxy("http://localhost,h", variables).unwrap().1.contains("localhost"));
    // One that kv could not use does no harm where none is needed.
    let unusable = |name: &str| (name == "http_proxy").then(|| "socks5://p".to_owned());
    assert!(parse_in("http://localhost", &unusable).is_ok());
    let error = parse_in("http://h", &unusable).unwrap_err();
    assert!(error.message.contains("the proxy"), "{error}");
}
