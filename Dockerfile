# The program alone; compose.yaml says how its parts are run.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Without C the binary needs nothing of the image below.
RUN CGO_ENABLED=0 go build -trimpath -o /trust ./cmd/trust

FROM alpine:3.22
# A user without name or home: the program writes nothing to disk here.
RUN apk add --no-cache ca-certificates tzdata
COPY --from=build /trust /usr/local/bin/trust
COPY --from=build /src/cmd/trust/data/municipalities.csv /src/cmd/trust/data/purposes.csv /usr/local/share/trust/
USER 65532:65532
WORKDIR /
ENTRYPOINT ["trust"]
CMD ["--help"]
