use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn parsed(connection: &str) -> PostgresPlace {
    parse_in(connection, &nothing).unwrap()
}

fn refusal(connection: &str) -> Error {
    parse_in(connection, &nothing).unwrap_err()
}

#[test]
fn a_uri_says_what_libpq_reads_in_it() {
    let place = parsed(
        "postgresql://us%40er:pa%3Ass@h1:6000,[::1]:6001,h3:6002/my%2Fdb?sslmode=disable&connect_timeout=3",
    );
    let servers: Vec<String> = place.servers().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["h1:6000", "::1:6001", "h3:6002"]);
    assert_eq!((place.user(), place.database()), ("us@er", "my/db"));
    assert_eq!(place.password(&place.servers().unwrap()[0]).as_deref(), Some("pa:ss"));
    assert_eq!((place.get("connect_timeout"), place.ssl_mode()), (Some("3"), SslMode::Disable));
    let socket = parsed("postgres://u@%2Frun%2Fpg:5433/db");
    assert_eq!(socket.servers().unwrap()[0].to_string(), "/run/pg/.s.PGSQL.5433");
    let by_parameters =
        parsed("postgres://?host=a,b&port=5433&user=u&dbname=d&options=-c%20search_path%3Dmine");
    assert_eq!(by_parameters.servers().unwrap().len(), 2);
    assert!(by_parameters.has_search_path());
}

#[test]
fn what_nobody_says_comes_from_the_environment_or_a_service() {
    let directory = tempfile::tempdir().unwrap();
    let services = directory.path().join("services");
    std::fs::write(&services, "# mine\n[other]\nhost=x\n[prod]\nhost=db1\nport=5555\ndbname=store\n")
        .unwrap();
    let environment = |name: &str| {
        let services = services.to_string_lossy().into_owned();
        match name {
            "PGSERVICEFILE" => Some(services),
            "PGHOST" => Some("from-environment".to_owned()),
            "PGUSER" => Some("me".to_owned()),
            "PGPASSWORD" => Some("secret".to_owned()),
            "PGAPPNAME" => Some("tests".to_owned()),
            _ => None,
        }
    };
    let place = parse_in("postgres://?service=prod", &environment).unwrap();
    assert_eq!(place.servers().unwrap()[0].to_string(), "db1:5555");
    assert_eq!((place.user(), place.database()), ("me", "store"));
    assert_eq!(place.get("application_name"), Some("tests"));
    let place = parse_in("postgres://", &environment).unwrap();
    assert_eq!(place.servers().unwrap()[0].to_string(), "from-environment:5432");
    assert_eq!(parse_in("postgres://?service=none", &environment).unwrap_err().code, Code::BadRequest);
}

#[test]
fn a_password_file_is_read_by_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pgpass");
    std::fs::write(&file, "# comment\nh:5432:*:u:pa\\:ss\n*:*:*:*:other\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let place = parsed(&format!("postgres://u@h,k/d?passfile={}", file.display()));
    let password = |index: usize| place.password(&place.servers().unwrap()[index]);
    mode(0o600);
    assert_eq!((password(0).as_deref(), password(1).as_deref()), (Some("pa:ss"), Some("other")));
    mode(0o640);
    assert_eq!(password(0), None);
}

#[test]
fn a_place_is_written_as_it_is_read_and_shown_without_its_password() {
    for connection in [
        "postgres://u:geheim%25@h:1/d?sslmode=require",
        "postgres://u:geheim%25@%2Frun%2Fpg/d",
        "postgres://u:geheim%25@[::1]:6001,h2/d?options=-c%20search_path%3Dmine&application_name=a%26b",
        "postgres://u:geheim%25@?host=a,b&hostaddr=10.0.0.1,10.0.0.2&dbname=d",
    ] {
        let place = parsed(connection);
        assert_eq!(parsed(&place.connection()), place, "{connection}");
        for shown in [format!("{place}"), format!("{place:?}"), place.identity()] {
            assert!(!shown.contains("geheim"), "{shown}");
        }
    }
}

#[test]
fn whatever_is_not_understood_is_refused_by_its_name_and_without_its_value() {
    for (connection, code, named) in [
        ("host=localhost", Code::BadRequest, "URI"),
        ("postgres://h/d?pasword=geheim", Code::BadRequest, "pasword"),
        ("postgres://h/d?sslmode=geheim", Code::BadRequest, "sslmode"),
        ("postgres://h/d?sslcrl=geheim", Code::Unsupported, "sslcrl"),
        ("postgres://h/d?target_session_attrs=standby", Code::Unsupported, "target_session_attrs"),
        ("postgres://h/d?connect_timeout=geheim", Code::BadRequest, "connect_timeout"),
        ("postgres://h:geheim/d", Code::BadRequest, "port"),
        ("postgres://h:0/d", Code::BadRequest, "port"),
        ("postgres://a,b,c/d?port=1,2", Code::BadRequest, "port"),
        ("postgres://h/d?client_encoding=LATIN1", Code::BadRequest, "client_encoding"),
        ("postgres://h/%00", Code::BadRequest, "dbname"),
    ] {
        let error = refusal(connection);
        assert_eq!(error.code, code, "{connection}: {error}");
        assert!(error.message.contains(named), "{connection}: {error}");
        assert!(!format!("{error:?}").contains("geheim"), "{connection}: {error:?}");
    }
}
