/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in: hello and challenge prove the secret both ways before anything else is believed; then the join goes to
 * the machine. What a stranger says is never shown, and nothing is allocated for it beyond its few small frames.
 */
#include "coordinator/server/server_internal.h"

#include "core/base/hash.h"

#include <stdio.h>
#include <string.h>

static void challenge(struct lsi_connection *connection)
{
    struct ls_wire_transcript *transcript = &connection->transcript;
    const uint8_t *secret = connection->server->options.secret;
    struct ls_message message = {.type = LS_MESSAGE_CHALLENGE};

    transcript->challenge.major = LS_WIRE_MAJOR;
    transcript->challenge.minor = LS_WIRE_MINOR;
    transcript->challenge.features = LS_WIRE_FEATURES;
    if (ls_random_bytes(transcript->challenge.nonce, LS_WIRE_NONCE) != LS_OK) {
        lsi_connection_drop(connection, "the system gives no random bytes", false);
        return;
    }
    message.challenge = transcript->challenge;
    ls_wire_prove(secret, LS_WIRE_COORDINATOR, transcript, message.challenge.proof);
    connection->channel.allowed =
        LS_MESSAGE_BIT(LS_MESSAGE_JOIN) | LS_MESSAGE_BIT(LS_MESSAGE_JOB_REQUEST) | LS_MESSAGE_BIT(LS_MESSAGE_REFUSAL);
    connection->stage = LSI_JOIN;
    lsi_connection_send(connection, &message);
    ls_channel_key(&connection->channel, secret, LS_WIRE_COORDINATOR, transcript);
}

void lsi_handle_hello(struct lsi_connection *connection, const struct ls_message *message)
{
    char sentence[256];

    connection->transcript.hello = message->hello;
    if (message->hello.major == LS_WIRE_MAJOR) {
        challenge(connection);
        return;
    }
    (void)snprintf(sentence, sizeof sentence,
                   "the worker speaks protocol %u.%u and the coordinator %d.%d: use the same release of lockstep",
                   message->hello.major, message->hello.minor, LS_WIRE_MAJOR, LS_WIRE_MINOR);
    lsi_say(connection->server, sentence);
    lsi_connection_refuse(connection, LS_EAUTH, sentence);
}

void lsi_handle_join(struct lsi_connection *connection, const struct ls_message *message)
{
    struct ls_server *server = connection->server;
    char local[LS_ADDRESS_TEXT];
    struct ls_event event = {.kind = LS_EVENT_JOIN, .connection = connection->id};

    if (message->type == LS_MESSAGE_JOB_REQUEST) {
        lsi_handle_job_request(connection, message);
        return;
    }
    if (message->type != LS_MESSAGE_JOIN) {
        lsi_connection_drop(connection, "it refused us", false);
        return;
    }
    if (!ls_wire_verify(server->options.secret, LS_WIRE_WORKER, &connection->transcript, message->join.proof)) {
        lsi_connection_drop(connection, "it has another secret", false);
        return;
    }
    connection->stage = LSI_DECIDING;
    connection->channel.allowed = 0;
    ls_stream_local(connection->stream, local);
    event.joined.join = &message->join;
    event.joined.address = connection->address;
    event.joined.local_address = local;
    event.joined.child = lsi_child_of(server, &message->join);
    lsi_feed(server, &event);
}
