//! The rules for header fields, a table for each.

use ipnet::IpNet;

use super::*;

/// Fields as they stand in a head, one a line.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
    }
    headers
}

/// The other way round, in the order of names; lines of one name keep theirs.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let mut lines: Vec<(&str, String)> =
        headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    lines.sort_by_key(|(name, _)| *name);
    lines.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

/// A proxy at 10.1.2.3 that may be trusted.
fn peer(trusted: bool) -> Peer {
    let networks: &[&str] = if trusted { &["10.0.0.0/8"] } else { &[] };
    Peer::new("10.1.2.3".parse().expect("an address"), &networks_of(networks))
}

fn networks_of(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

fn rules() -> Rules {
    let via = via::Entry::new("gogeta").expect("a name");
    Rules { underscores: false, forwarded: false, request_id: false, via, via_response: false }
}

/// What a request's fields become, and the protocol that it may upgrade to.
fn sent(lines_in: &[&str], peer: &Peer, rules: &Rules) -> (Vec<String>, Option<String>) {
    let mut headers = headers(lines_in);
    let original = Original {
        version: Version::HTTP_11,
        host: headers.get(HOST).cloned(),
        port: headers.get(HOST).and_then(|host| host.to_str().ok()?.rsplit_once(':')?.1.parse().ok()),
        survey: Survey::of(&headers),
    };
    let protocol = to_upstream(&mut headers, peer, original, rules).upgrade;
    (lines(&headers), protocol.map(|protocol| protocol.to_str().expect("text").to_owned()))
}

/// The same for a stranger's request, without the fields that each request gets.
fn passed(lines: &[&str]) -> Vec<String> {
    const ALWAYS: [&str; 5] =
        ["via:", "x-forwarded-for:", "x-forwarded-port:", "x-forwarded-proto:", "x-real-ip:"];
    let mut sent = sent(lines, &peer(false), &rules()).0;
    sent.retain(|line| !ALWAYS.iter().any(|name| line.starts_with(name)));
    sent
}

#[test]
fn hop_by_hop_fields_go_no_further_either_way() {
    let hop_by_hop = [
        "connection: close",
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "proxy-authenticate: Basic",
        "proxy-authentication-info: x=1",
        "proxy-authorization: Basic eA==",
        "te: gzip",
        "trailer: x-checksum",
        "transfer-encoding: chunked",
        "upgrade: h2c",
    ];
    for field in hop_by_hop {
        // That there are chunks is said by us, to hyper.
        let mut went = passed(&[field, "x-kept: 1"]);
        went.retain(|line| line != "transfer-encoding: chunked");
        assert_eq!(went, ["x-kept: 1"]);
        let mut response = headers(&[field, "x-kept: 1"]);
        to_client(&mut response, Version::HTTP_11, false, &rules());
        assert_eq!(lines(&response), ["x-kept: 1"], "{field}");
    }
    let end_to_end = ["authorization: Basic eA==", "cookie: a=1", "cookie: b=2", "www-authenticate: Basic"];
    assert_eq!(passed(&end_to_end), end_to_end);
}

#[test]
fn connection_nominates_fields_in_all_its_lines() {
    let rows: [(&[&str], &[&str]); 11] = [
        (&["connection: x-a", "x-a: 1", "x-b: 1"], &["x-b: 1"]),
        (&["connection: close, X-A ,x-b", "x-a: 1", "x-b: 1"], &[]),
        (&["connection: close", "connection: x-a", "x-a: 1"], &[]),
        (&["connection: x-a", "x-a: 1", "x-a: 2"], &[]),
        (&["connection: x-a"], &[]),
        (&["connection: , ,", "x-a: 1"], &["x-a: 1"]),
        (&["connection: \u{e4}, x y, x-a", "x-a: 1"], &[]),
        (&["connection: close", "close: 1"], &[]),
        (&["connection: \"close", "x-a: 1"], &["x-a: 1"]),
        (&["connection: x-a;q=1", "x-a: 1"], &["x-a: 1"]),
        (&["connection: keep-alive, close", "keep-alive: 1"], &[]),
    ];
    for (given, kept) in rows {
        assert_eq!(passed(given), kept, "{given:?}");
        let mut response = headers(given);
        to_client(&mut response, Version::HTTP_11, false, &rules());
        assert_eq!(lines(&response), kept, "{given:?}");
    }
}

#[test]
fn framing_and_what_gogeta_says_cannot_be_nominated() {
    for name in NOT_NOMINABLE {
        let mut all = headers(&[&format!("connection: close, {name}"), &format!("{name}: 1")]);
        strip_hop_by_hop(&mut all);
        // Transfer-Encoding is for one hop by itself.
        assert_eq!(all.contains_key(&name), name != TRANSFER_ENCODING, "{name}");
    }
    let nominated = "connection: host, x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, \
                     x-real-ip, forwarded, via, x-request-id";
    let rules = Rules { forwarded: true, request_id: true, ..rules() };
    let told = [
        "forwarded: for=10.1.2.3;host=\"a.test\";proto=http",
        "host: a.test",
        "via: 1.1 gogeta",
        "x-forwarded-for: 10.1.2.3",
        "x-forwarded-host: a.test",
        "x-forwarded-port: 80",
        "x-forwarded-proto: http",
        "x-real-ip: 10.1.2.3",
        "x-request-id: 7",
    ];
    assert_eq!(sent(&[nominated, "host: a.test", "x-request-id: 7"], &peer(false), &rules).0, told);
    // An id that gogeta has no part in is a field like any other.
    assert_eq!(passed(&["connection: x-request-id", "x-request-id: 7"]), [""; 0]);
}

#[test]
fn of_te_only_trailers_go_on() {
    let rows: [(&[&str], &[&str]); 7] = [
        (&["te: trailers"], &["connection: te", "te: trailers"]),
        (&["te: gzip, Trailers"], &["connection: te", "te: trailers"]),
        (&["te: gzip;q=0.5", "te: trailers"], &["connection: te", "te: trailers"]),
        (&["connection: te", "te: trailers"], &["connection: te", "te: trailers"]),
        (&["te: gzip"], &[]),
        (&["te: trailersx"], &[]),
        (&["te: deflate;x=trailers"], &[]),
    ];
    for (given, kept) in rows {
        assert_eq!(passed(given), kept, "{given:?}");
    }
}

#[test]
fn an_upgrade_is_one_protocol_that_connection_names() {
    let rows: [(&[&str], Option<&str>); 11] = [
        (&["connection: upgrade", "upgrade: websocket"], Some("websocket")),
        (&["connection: keep-alive, Upgrade", "upgrade: WebSocket"], Some("WebSocket")),
        (&["connection: close", "connection: upgrade", "upgrade: x/1"], Some("x/1")),
        (&["upgrade: websocket"], None),
        (&["connection: close", "upgrade: websocket"], None),
        (&["connection: upgrade"], None),
        (&["connection: upgrade", "upgrade: websocket, x"], None),
        (&["connection: upgrade", "upgrade: websocket", "upgrade: x"], None),
        (&["connection: upgrade", "upgrade:  "], None),
        (&["connection: upgrade", "upgrade: h2c"], None),
        (&["connection: upgrade, http2-settings", "upgrade: H2C", "http2-settings: x"], None),
    ];
    for (given, expected) in rows {
        let (sent, protocol) = sent(given, &peer(false), &rules());
        assert_eq!(protocol.as_deref(), expected, "{given:?}");
        let said = |name: &str| sent.iter().find_map(|line| line.strip_prefix(name));
        assert_eq!(said("upgrade: "), expected, "{given:?}");
        assert_eq!(said("connection: "), expected.map(|_| "upgrade"), "{given:?}");
        assert_eq!(said("http2-settings: "), None, "{given:?}");
    }
}

#[test]
fn the_length_is_left_to_who_writes_the_request() {
    assert_eq!(passed(&["content-length: 5", "expect: 100-continue", "x-a: 1"]), ["x-a: 1"]);
}

/// Everything by which a client may say who it is.
const CLAIMS: [&str; 7] = [
    "host: a.test:8080",
    "x-forwarded-for: 6.6.6.6",
    "x-forwarded-host: outer.test",
    "x-forwarded-port: 443",
    "x-forwarded-proto: https",
    "x-real-ip: 6.6.6.6",
    "forwarded: for=6.6.6.6;proto=https",
];

#[test]
fn what_a_stranger_says_of_himself_is_replaced() {
    let told = [
        "host: a.test:8080",
        "via: 1.1 gogeta",
        "x-forwarded-for: 10.1.2.3",
        "x-forwarded-host: a.test:8080",
        "x-forwarded-port: 8080",
        "x-forwarded-proto: http",
        "x-real-ip: 10.1.2.3",
    ];
    assert_eq!(sent(&CLAIMS, &peer(false), &rules()).0, told);
    assert_eq!(sent(&CLAIMS[..1], &peer(false), &rules()).0, told, "and told where it was not said");
    // Without a Host there is none to tell of, and a claim does not become one.
    let (nobody, _) = sent(&["x-forwarded-host: evil.test"], &peer(false), &rules());
    assert!(!nobody.iter().any(|line| line.starts_with("x-forwarded-host")), "{nobody:?}");
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_its_address_appended() {
    let told = [
        "forwarded: for=6.6.6.6;proto=https",
        "host: a.test:8080",
        "via: 1.1 gogeta",
        "x-forwarded-for: 6.6.6.6, 10.1.2.3",
        "x-forwarded-host: outer.test",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-real-ip: 6.6.6.6",
    ];
    assert_eq!(sent(&CLAIMS, &peer(true), &rules()).0, told);
    let (several, _) = sent(&["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2"], &peer(true), &rules());
    assert!(several.contains(&"x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.1.2.3".to_owned()), "{several:?}");
    // The port of https is its own where nobody says otherwise.
    let port = |lines: &[&str]| {
        let (sent, _) = sent(lines, &peer(true), &rules());
        sent.iter().find_map(|line| line.strip_prefix("x-forwarded-port: ")).map(str::to_owned)
    };
    assert_eq!(port(&["host: a.test", "x-forwarded-proto: https"]).as_deref(), Some("443"));
    assert_eq!(port(&["host: a.test:8443", "x-forwarded-proto: https"]).as_deref(), Some("8443"));
    assert_eq!(port(&["host: a.test"]).as_deref(), Some("80"));
}

#[test]
fn who_is_trusted() {
    let rows: [(&str, &[&str], bool); 9] = [
        ("10.1.2.3", &[], false),
        ("10.1.2.3", &["10.0.0.0/8"], true),
        ("10.1.2.3", &["10.1.2.3/32"], true),
        ("11.1.2.3", &["10.0.0.0/8"], false),
        ("11.1.2.3", &["10.0.0.0/8", "11.0.0.0/8"], true),
        ("::ffff:10.1.2.3", &["10.0.0.0/8"], true),
        ("2001:db8::1", &["2001:db8::/32"], true),
        ("2001:db9::1", &["2001:db8::/32", "0.0.0.0/0"], false),
        ("10.1.2.3", &["::/0"], false),
    ];
    for (address, networks, trusted) in rows {
        let peer = Peer::new(address.parse().expect("an address"), &networks_of(networks));
        assert_eq!(peer.trusted, trusted, "{address} of {networks:?}");
    }
}

#[test]
fn addresses() {
    let shown = |text: &str| Peer::new(text.parse().expect("an address"), &[]).address;
    assert_eq!(shown("1.2.3.4"), "1.2.3.4");
    assert_eq!(shown("::ffff:1.2.3.4"), "1.2.3.4");
    assert_eq!(shown("2001:DB8:0::1"), "2001:db8::1");
}

#[test]
fn forwarded_says_the_same_in_quotes_where_they_are_due() {
    // RFC 7239, 4 and 6: brackets and quotes around IPv6, quotes around what is no token.
    let rows: [(&str, &[&str], &[&str]); 5] = [
        ("10.1.2.3", &["host: a.test"], &["for=10.1.2.3;host=\"a.test\";proto=http"]),
        ("10.1.2.3", &["host: a.test:81"], &["for=10.1.2.3;host=\"a.test:81\";proto=http"]),
        ("2001:db8::1", &["host: [::1]:81"], &["for=\"[2001:db8::1]\";host=\"[::1]:81\";proto=http"]),
        ("10.1.2.3", &[], &["for=10.1.2.3;proto=http"]),
        ("10.1.2.3", &["forwarded: for=6.6.6.6"], &["for=10.1.2.3;proto=http"]),
    ];
    let rules = Rules { forwarded: true, ..rules() };
    let forwarded = |address: &str, trusted: &[&str], lines: &[&str]| {
        let peer = Peer::new(address.parse().expect("an address"), &networks_of(trusted));
        let (mut sent, _) = sent(lines, &peer, &rules);
        sent.retain(|line| line.starts_with("forwarded"));
        sent
    };
    for (address, given, told) in rows {
        let told: Vec<String> = told.iter().map(|element| format!("forwarded: {element}")).collect();
        assert_eq!(forwarded(address, &[], given), told, "{given:?} of {address}");
    }
    let given = ["forwarded: for=6.6.6.6", "forwarded: for=_hidden, for=\"[::2]:1\"", "host: a.test"];
    let told = [given[0], given[1], "forwarded: for=10.1.2.3;host=\"a.test\";proto=http"];
    assert_eq!(forwarded("10.1.2.3", &["10.0.0.0/8"], &given), told, "behind a trusted proxy");
}

#[test]
fn a_fixed_place_is_told_the_host_that_was_asked_for() {
    let mut headers = headers(&["host: target.test:81"]);
    let host = Some(HeaderValue::from_static("asked.test:82"));
    let survey = Survey::of(&headers);
    let original = Original { version: Version::HTTP_11, host, port: Some(82), survey };
    to_upstream(&mut headers, &peer(false), original, &Rules { forwarded: true, ..rules() });
    let told = [
        "forwarded: for=10.1.2.3;host=\"asked.test:82\";proto=http",
        "host: target.test:81",
        "via: 1.1 gogeta",
        "x-forwarded-for: 10.1.2.3",
        "x-forwarded-host: asked.test:82",
        "x-forwarded-port: 82",
        "x-forwarded-proto: http",
        "x-real-ip: 10.1.2.3",
    ];
    assert_eq!(lines(&headers), told);
}

#[test]
fn via_grows_by_one_entry_each_hop() {
    let via = |version, rules: &Rules| {
        let mut request = headers(&["via: 1.0 first", "via: 1.1 second, 1.1 third"]);
        let mut response = request.clone();
        let original = Original { version, host: None, port: None, survey: Survey::of(&request) };
        to_upstream(&mut request, &peer(false), original, rules);
        to_client(&mut response, version, false, rules);
        let lines = |headers: &HeaderMap| {
            headers
                .get_all(VIA)
                .iter()
                .map(|line| line.to_str().expect("text").to_owned())
                .collect::<Vec<_>>()
        };
        (lines(&request), lines(&response))
    };
    let before = ["1.0 first", "1.1 second, 1.1 third"];
    let after = |entry| [&before[..], &[entry]].concat();
    let (request, response) = via(Version::HTTP_11, &rules());
    assert_eq!(
        (request, response),
        (after("1.1 gogeta").into_iter().map(str::to_owned).collect(), before.map(str::to_owned).to_vec())
    );
    let (request, response) = via(Version::HTTP_10, &Rules { via_response: true, ..rules() });
    assert_eq!((&request, &response), (&response, &request));
    assert_eq!(request, after("1.0 gogeta"));
}

#[test]
fn what_is_nobodys_business_passes_untouched() {
    let lines = [
        "accept: */*",
        "host: a.test",
        "http2-settings: x",
        "proxy-status: x",
        "sec-websocket-key: x",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: a=1,b=2",
        "tracestate: c=3",
        "x-empty: ",
        "x-forwarded-host: a.test",
        "x-forwarded-server: x",
        "x-request-id: mine",
    ];
    assert_eq!(passed(&lines), lines);
    let mut bytes = HeaderMap::new();
    bytes.insert("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").expect("a value"));
    to_client(&mut bytes, Version::HTTP_11, false, &rules());
    assert_eq!(bytes["x-bytes"], HeaderValue::from_bytes(b"\xff\xfe").expect("a value"));
}

#[test]
fn a_proxy_field_is_no_ones_environment() {
    // HTTP_PROXY, for CGI and its heirs (httpoxy, CVE-2016-5385).
    assert_eq!(passed(&["proxy: http://evil.test", "x-proxy: 1"]), ["x-proxy: 1"]);
}

#[test]
fn underscores_are_an_alias_of_dashes_for_some() {
    let with = |underscores| {
        let lines = ["x_forwarded_for: 6.6.6.6", "content_length: 5", "_: 1", "x-a: a_b"];
        let (mut sent, _) = sent(&lines, &peer(false), &Rules { underscores, ..rules() });
        sent.retain(|line| line.contains('_'));
        sent
    };
    assert_eq!(with(false), ["x-a: a_b"]);
    assert_eq!(with(true), ["_: 1", "content_length: 5", "x-a: a_b", "x_forwarded_for: 6.6.6.6"]);
}

#[test]
fn the_root_of_the_original_url() {
    let rows: [(&[&str], Option<&str>); 8] = [
        (&["host: a.test"], Some("http://a.test/")),
        (&["host: a.test:80"], Some("http://a.test/")),
        (&["host: a.test:8080"], Some("http://a.test:8080/")),
        (&["host: a.test", "x-forwarded-proto: https"], Some("https://a.test/")),
        (&["host: a.test", "x-forwarded-proto: https", "x-forwarded-port: 443"], Some("https://a.test/")),
        (
            &["host: a.test", "x-forwarded-proto: https", "x-forwarded-port: 8443"],
            Some("https://a.test:8443/"),
        ),
        (&["host: [::1]:81"], Some("http://[::1]:81/")),
        (&[], None),
    ];
    for (given, expected) in rows {
        let given = headers(given);
        let root = given.get(HOST).and_then(|host| forwarded::url_root(&given, host));
        assert_eq!(root.as_ref().map(|root| root.to_str().expect("text")), expected, "{given:?}");
    }
}

#[test]
fn that_a_body_comes_in_chunks_is_said_anew() {
    for given in [
        &["transfer-encoding: Chunked", "connection: transfer-encoding"][..],
        &["transfer-encoding: chunked"],
    ] {
        assert_eq!(passed(given), ["transfer-encoding: chunked"]);
    }
}
