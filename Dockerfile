# The image of gogeta, and one of a small service that registers itself, for deploy/compose.yaml.
#
#     docker build --tag gogeta .
#     docker build --tag gogeta-sample --target sample .
#
# Base images are arguments, for mirrors of your own. All three have the same Debian, and with it the same glibc.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12
ARG SAMPLE=docker.io/library/python:3.13-slim-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# The kernel's part is in the repository, built: stable Rust does.
RUN cargo build --locked --release --package gogeta \
    # Whoever runs gogeta with this group may keep routes there.
    && mkdir -p /files/usr/bin /files/var/lib/gogeta /files/usr/share/doc/gogeta \
    && chown 65532:65532 /files/var/lib/gogeta \
    && chmod 2770 /files/var/lib/gogeta \
    && cp target/release/gogeta /files/usr/bin/ \
    && cp LICENSE-APACHE LICENSE-MIT gogeta-ebpf/LICENSE-GPL2 /files/usr/share/doc/gogeta/

# A service to try gogeta with: what `gogeta register` starts is in etcd for as long as it runs.
FROM ${SAMPLE} AS sample
COPY --from=build /files/usr/bin/gogeta /usr/bin/gogeta
COPY deploy/sample.sh /usr/bin/sample
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["/bin/sh", "/usr/bin/sample"]

# gogeta needs glibc and libgcc, certificates of authorities, and nothing else: no shell, no package manager. It is not
# linked statically, so that names are looked up as the system says (nsswitch.conf), and memory is mimalloc's over glibc.
FROM ${RUNTIME} AS runtime
COPY --from=build /files/ /
# The user "nonroot" of distroless. To have connections carried by the kernel takes root with CAP_BPF and CAP_NET_ADMIN,
# which gogeta gives up before it serves a byte: see deploy/compose.capabilities.yaml.
USER 65532:65532
# Within a container, loopback is nobody's but its own. Publish 7778 to those only who may see it.
ENV GOGETA_LISTEN=0.0.0.0:7777 GOGETA_ADMIN=0.0.0.0:7778
EXPOSE 7777 7778
VOLUME ["/var/lib/gogeta"]
ENTRYPOINT ["/usr/bin/gogeta"]
