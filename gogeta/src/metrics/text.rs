//! The two formats of a scrape: OpenMetrics, and the plain text of Prometheus before it.

use std::fmt::Write as _;

/// How a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    Plain,
}

impl Format {
    /// The one that an `Accept` asks for (RFC 9110, 12.5.1): plain text, unless OpenMetrics is liked as much.
    pub fn accepted(accept: Option<&str>) -> Self {
        let mut best = [(0.0, Self::Plain), (0.0, Self::OpenMetrics)];
        for range in accept.unwrap_or("*/*").split(',') {
            let mut parameters = range.split(';').map(str::trim);
            let kind = parameters.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0_f32;
            let mut is_known = true;
            for parameter in parameters {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                match name.trim() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => is_known = ["0.0.1", "1.0.0", "0.0.4"].contains(&value.trim()),
                    _ => {}
                }
            }
            let place = match kind.as_str() {
                "application/openmetrics-text" => 1,
                "text/plain" | "text/*" | "*/*" => 0,
                _ => continue,
            };
            if is_known && quality > best[place].0 {
                best[place].0 = quality;
            }
        }
        if best[1].0 > 0.0 && best[1].0 >= best[0].0 { Self::OpenMetrics } else { Self::Plain }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// An OpenMetrics text as plain text: there a counter's family has the name of its samples, an info is a gauge, and
/// nobody tells of units and the end.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    // The help comes before the type, which says what the family is called.
    let mut help: Option<(&str, &str)> = None;
    let tell = |plain: &mut String, family: &str, suffix: &str, help: Option<(&str, &str)>| {
        if let Some((_, help)) = help.filter(|(of, _)| *of == family) {
            let _ = writeln!(plain, "# HELP {family}{suffix} {help}");
        }
    };
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            tell(&mut plain, family, suffix, help.take());
            let _ = writeln!(plain, "# TYPE {family}{suffix} {kind}");
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_accepts_openmetrics_gets_it() {
        let rows = [
            (None, Format::Plain),
            (Some("*/*"), Format::Plain),
            (Some("text/html, */*;q=0.1"), Format::Plain),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;version=2.0.0"), Format::Plain),
            (Some("application/openmetrics-text;q=0"), Format::Plain),
            (Some("application/openmetrics-text;q=0.2,text/plain;q=0.7"), Format::Plain),
            // As Prometheus 2 and 3 ask.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Format::OpenMetrics,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2",
                ),
                Format::OpenMetrics,
            ),
        ];
        for (accept, format) in rows {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn families_have_the_names_of_their_samples_in_plain_text() {
        let text = "# HELP a_bytes Things.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"#\"} 1\n\
                    # HELP b B.\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP c C.\n# TYPE c gauge\nc 2\n# EOF\n";
        let wanted = "# HELP a_bytes_total Things.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"#\"} 1\n\
                      # HELP b_info B.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP c C.\n# TYPE c gauge\nc 2\n";
        assert_eq!(plain(text), wanted);
    }
}
