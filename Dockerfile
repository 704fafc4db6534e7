# One static binary on an empty base: no shell, no package manager, not root.
#
#   docker build -t framegate .                                  (or podman, or buildah bud --format docker)
#   docker run -p 8443:8443 framegate demo --listen :8443
#   docker run -p 8443:8443 -v ./gateway.yaml:/etc/framegate/gateway.yaml:ro -v framegate:/var/lib/framegate framegate
#
# A binary that was built elsewhere takes the place of the first stage, which then is not run and pulls nothing:
#
#   mkdir -p dist/out/state && cp /etc/ssl/certs/ca-certificates.crt dist/out/
#   CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o dist/out/framegate ./cmd/framegate
#   docker build --build-context build=dist -t framegate .

ARG GO_IMAGE=docker.io/library/golang:1.26.8

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN mkdir -p /out/state && \
    cp /etc/ssl/certs/ca-certificates.crt /out/ && \
    CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/framegate ./cmd/framegate

FROM scratch
LABEL org.opencontainers.image.title="framegate" \
      org.opencontainers.image.description="WebSocket security gateway" \
      org.opencontainers.image.source="https://github.com/framegate/framegate" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/framegate /framegate
# Certificates and other state: mount a volume here to keep it.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/framegate/
ENV XDG_DATA_HOME=/var/lib
WORKDIR /etc/framegate
USER 65532:65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/framegate", "healthcheck"]
ENTRYPOINT ["/framegate"]
CMD ["run"]
