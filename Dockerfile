# The program alone; compose.yaml says how its parts are run.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What browsers check proofs with is part of the binary.
RUN make verifier
# Without C the binary needs nothing of the image below.
RUN CGO_ENABLED=0 go build -trimpath -o /trust ./cmd/trust

FROM alpine:3.22
# A user without name or home: but for the newest checkpoint, the program writes nothing to disk.
RUN apk add --no-cache ca-certificates tzdata
COPY --from=build /trust /usr/local/bin/trust
COPY --from=build /src/cmd/trust/data/municipalities.csv /src/cmd/trust/data/purposes.csv /usr/local/share/trust/
# Where the sealer keeps the newest checkpoint: compose.yaml mounts a volume there, which takes over this owner.
RUN mkdir -m 0700 /var/lib/trust && chown 65532:65532 /var/lib/trust
USER 65532:65532
WORKDIR /
ENTRYPOINT ["trust"]
CMD ["--help"]
