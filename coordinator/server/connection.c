/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: accepted, read frame by frame, written, dropped. A connection that breaks is only marked here; the sweep
 * after each event tells the machine, so that no step runs inside another.
 */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <stdio.h>

static bool stranger(const struct lsi_connection *connection)
{
    return connection->stage != LSI_MEMBER;
}

void lsi_connection_drop(struct lsi_connection *connection, const char *why, bool ended)
{
    struct ls_stream *stream = connection->stream;

    if (stream == NULL)
        return;
    connection->stream = NULL;
    (void)ls_str_into(connection->closed_why, sizeof connection->closed_why, why);
    if (ended)
        ls_stream_end(stream);
    else
        ls_stream_close(stream);
}

void lsi_connection_send(struct lsi_connection *connection, const struct ls_message *message)
{
    struct ls_buf frame = {0};
    enum ls_status status;

    if (connection->stream == NULL)
        return;
    status = ls_channel_pack(&connection->channel, message, ls_machine_generation(connection->server->machine),
                             connection->incarnation, &frame, NULL);
    if (status == LS_OK)
        status = ls_stream_write(connection->stream, frame.data, frame.length);
    ls_buf_deinit(&frame);
    if (status == LS_EBUSY)
        lsi_connection_drop(connection, "it does not read what it is sent", false);
    else if (status != LS_OK)
        lsi_connection_drop(connection, ls_status_sentence(status), false);
}

void lsi_connection_refuse(struct lsi_connection *connection, enum ls_status status, const char *sentence)
{
    struct ls_message message = {.type = LS_MESSAGE_REFUSAL};

    message.refusal.status = status;
    (void)ls_str_into(message.refusal.sentence, sizeof message.refusal.sentence, sentence);
    lsi_connection_send(connection, &message);
    lsi_connection_drop(connection, "it was refused", true);
}

static void handle(struct lsi_connection *connection, const struct ls_message *message,
                   const struct ls_frame_info *info)
{
    switch (connection->stage) {
    case LSI_HELLO:
        lsi_handle_hello(connection, message);
        break;
    case LSI_JOIN:
        lsi_handle_join(connection, message);
        break;
    case LSI_DECIDING:
        break;
    case LSI_MEMBER:
        lsi_handle_member(connection, message, info);
        break;
    }
}

/* Only those who know the secret get to put their words into our log. */
static void broken(struct lsi_connection *connection, enum ls_status status, const struct ls_error *err)
{
    char sentence[LS_WIRE_SENTENCE];

    if (connection->stage == LSI_JOIN && status == LS_EAUTH) {
        (void)snprintf(sentence, sizeof sentence, "refused a worker at %s: it has another secret than this job",
                       connection->address);
        lsi_say(connection->server, sentence);
    } else if (!stranger(connection)) {
        (void)snprintf(sentence, sizeof sentence, "closed the connection of %s: %s", connection->address, err->message);
        lsi_say(connection->server, sentence);
    }
    lsi_connection_drop(connection, err->message, false);
}

static void on_data(void *state, const uint8_t *data, size_t length)
{
    struct lsi_connection *connection = state;
    struct ls_server *server = connection->server;
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status = LS_OK;

    if (stranger(connection)) {
        connection->bytes += length;
        if (connection->bytes > LSI_AUTH_BYTES)
            status = ls_error_set(&err, LS_EINVAL, "too many bytes came before the secret was proved");
    }
    if (status == LS_OK)
        status = ls_channel_feed(&connection->channel, data, length, &err);
    server->reading = true;
    while (status == LS_OK && connection->stream != NULL) {
        struct ls_message message;
        struct ls_frame_info info;

        status = ls_channel_next(&connection->channel, &message, &info, &err);
        if (status != LS_OK)
            break;
        handle(connection, &message, &info);
        ls_message_deinit(&message);
    }
    if (status != LS_OK && status != LS_EAGAIN && connection->stream != NULL)
        broken(connection, status, &err);
    server->reading = false;
    lsi_connections_sweep(server);
    lsi_schedule(server);
}

static void on_close(void *state, enum ls_status status, const char *reason)
{
    struct lsi_connection *connection = state;
    struct ls_server *server = connection->server;

    (void)status;
    connection->stream = NULL;
    (void)ls_str_into(connection->closed_why, sizeof connection->closed_why, reason);
    lsi_connections_sweep(server);
    lsi_schedule(server);
}

/* A flood of half-open connections may not keep a worker out, which needs one round trip only. */
static void make_room(struct ls_server *server)
{
    struct lsi_connection *oldest = NULL;

    if (server->stranger_count < LSI_STRANGERS)
        return;
    for (struct lsi_connection *c = server->connections; c != NULL; c = c->next) {
        if (stranger(c))
            oldest = c; /* the list begins with the newest */
    }
    lsi_connection_drop(oldest, "too many connections wait to join", false);
    lsi_connections_sweep(server);
}

void lsi_connection_accept(void *state, struct ls_stream *stream)
{
    static const struct ls_stream_handlers handlers = {.on_data = on_data, .on_close = on_close};
    struct ls_server *server = state;
    struct lsi_connection *connection = NULL;

    make_room(server);
    if (!server->over)
        connection = ls_alloc_zeroed(1, sizeof *connection);
    if (connection == NULL) {
        ls_stream_close(stream);
        return;
    }
    connection->server = server;
    connection->stream = stream;
    connection->id = ++server->next_connection;
    connection->since_ms = lsi_now_ms();
    connection->channel.allowed = LS_MESSAGE_BIT(LS_MESSAGE_HELLO);
    ls_stream_peer(stream, connection->address, NULL);
    connection->next = server->connections;
    server->connections = connection;
    server->stranger_count++;
    ls_stream_accept(stream, &handlers, connection);
    lsi_schedule(server);
}

static void free_connection(struct lsi_connection *connection)
{
    ls_channel_deinit(&connection->channel);
    ls_free(connection);
}

/* Unlinks one gone connection, NULL where there is none. */
static struct lsi_connection *unlink_gone(struct ls_server *server)
{
    for (struct lsi_connection **at = &server->connections; *at != NULL; at = &(*at)->next) {
        struct lsi_connection *connection = *at;

        if (connection->stream != NULL)
            continue;
        *at = connection->next;
        if (stranger(connection))
            server->stranger_count--;
        return connection;
    }
    return NULL;
}

void lsi_connections_sweep(struct ls_server *server)
{
    struct lsi_connection *gone;

    if (server->feeding || server->reading)
        return;
    while ((gone = unlink_gone(server)) != NULL) {
        struct ls_event event = {.kind = LS_EVENT_CLOSED, .worker = gone->worker, .said.text = gone->closed_why};

        if (!stranger(gone))
            lsi_feed(server, &event);
        free_connection(gone);
    }
}

int64_t lsi_connections_expire(struct ls_server *server, int64_t now_ms)
{
    int64_t due = LS_MACHINE_NEVER;

    for (struct lsi_connection *c = server->connections; c != NULL; c = c->next) {
        if (!stranger(c) || c->stream == NULL)
            continue;
        if (now_ms - c->since_ms >= LSI_AUTH_MS)
            lsi_connection_drop(c, "it did not prove the secret in time", false);
        else if (c->since_ms + LSI_AUTH_MS < due)
            due = c->since_ms + LSI_AUTH_MS;
    }
    lsi_connections_sweep(server);
    return due;
}

struct lsi_connection *lsi_connection_of_worker(struct ls_server *server, uint64_t worker)
{
    struct lsi_connection *c = server->connections;

    while (c != NULL && (stranger(c) || c->worker != worker))
        c = c->next;
    return c;
}

struct lsi_connection *lsi_connection_find(struct ls_server *server, uint64_t id)
{
    struct lsi_connection *c = server->connections;

    while (c != NULL && c->id != id)
        c = c->next;
    return c;
}

int lsi_connections_open(const struct ls_server *server)
{
    int open = 0;

    for (const struct lsi_connection *c = server->connections; c != NULL; c = c->next)
        open += c->stream != NULL && !stranger(c);
    return open;
}

void lsi_connections_close(struct ls_server *server)
{
    while (server->connections != NULL) {
        struct lsi_connection *connection = server->connections;

        server->connections = connection->next;
        if (stranger(connection))
            server->stranger_count--;
        ls_stream_close(connection->stream);
        free_connection(connection);
    }
}
