/* SPDX-License-Identifier: Apache-2.0 */
/* What the coordinator says: the rest of the handshake, the assignment, orders, acknowledgements. */
#include "worker/session/session_internal.h"

#include "core/base/str.h"

#include <string.h>
#include <unistd.h>

static void describe_worker(const struct ls_session_options *options, struct ls_wire_join *join)
{
    join->numerics = LS_WIRE_NUMERICS;
    join->known_answers = options->known_answers;
    (void)ls_str_into(join->fingerprint, sizeof join->fingerprint, options->fingerprint);
    join->replicas = options->replicas;
    join->wanted_index = options->wanted_index;
    memcpy(join->ports, options->listen_port, sizeof join->ports);
    ls_host_name(join->host);
    join->pid = getpid();
}

static void on_challenge(struct ls_session *session, const struct ls_wire_challenge *challenge)
{
    const struct ls_session_options *options = &session->options;
    struct ls_wire_transcript *transcript = &session->transcript;
    struct ls_message message;

    transcript->challenge = *challenge;
    if (!ls_wire_verify(options->secret, LS_WIRE_COORDINATOR, transcript, challenge->proof)) {
        message = (struct ls_message){.type = LS_MESSAGE_REFUSAL};
        message.refusal.status = LS_EAUTH;
        lsi_speak(session, &message); /* tells it no more than that */
        ls_stream_end(session->stream);
        session->stream = NULL;
        lsi_link_refuse(
            session, LS_EAUTH,
            "the coordinator at %s has another secret than this worker; give both the secret of the same job",
            session->address);
        return;
    }
    ls_channel_key(&session->channel, options->secret, LS_WIRE_WORKER, transcript);
    session->stage = LSI_ASKED;
    if (session->fetching) {
        message = (struct ls_message){.type = LS_MESSAGE_JOB_REQUEST};
        ls_wire_prove(options->secret, LS_WIRE_WORKER, transcript, message.job_request.proof);
        session->channel.allowed = LS_MESSAGE_BIT(LS_MESSAGE_JOB) | LS_MESSAGE_BIT(LS_MESSAGE_REFUSAL);
    } else {
        message = (struct ls_message){.type = LS_MESSAGE_JOIN};
        ls_wire_prove(options->secret, LS_WIRE_WORKER, transcript, message.join.proof);
        describe_worker(options, &message.join);
        session->channel.allowed = LS_MESSAGE_BIT(LS_MESSAGE_WELCOME) | LS_MESSAGE_BIT(LS_MESSAGE_REFUSAL);
    }
    lsi_speak(session, &message);
}

static void on_welcome(struct ls_session *session, const struct ls_wire_welcome *welcome)
{
    session->stage = LSI_JOINED;
    session->incarnation = welcome->incarnation;
    session->heartbeat_ms = welcome->heartbeat_ms;
    session->channel.allowed = LS_MESSAGE_BIT(LS_MESSAGE_ASSIGNMENT) | LS_MESSAGE_BIT(LS_MESSAGE_ORDER) |
                               LS_MESSAGE_BIT(LS_MESSAGE_HEARTBEAT_ACK) | LS_MESSAGE_BIT(LS_MESSAGE_FINISH_ACK);
    ls_timer_stop(session->retry);
    session->beat_ms = lsi_session_now_ms();
    ls_timer_start(session->beat, (uint64_t)session->heartbeat_ms);
}

static void on_job(struct ls_session *session, struct ls_message *message)
{
    session->stage = LSI_LEFT;
    ls_timer_stop(session->retry);
    lsi_link_close(session);
    (void)pthread_mutex_lock(&session->lock);
    session->fetched->job = message->job;
    message->type = LS_MESSAGE_END; /* it owns nothing any more */
    session->open = LSI_OPENED;
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}

static void on_refusal(struct ls_session *session, const struct ls_wire_refusal *refusal)
{
    lsi_link_close(session);
    /* Before the challenge anybody may have said it. */
    if (session->stage == LSI_CHALLENGED)
        lsi_link_refuse(session, LS_EAUTH,
                        "what answers at %s refused this worker, and has not proved the job's secret: %s",
                        session->address, refusal->sentence);
    else
        lsi_link_refuse(session, refusal->status, "the coordinator at %s refused this worker: %s", session->address,
                        refusal->sentence);
}

static void on_assignment(struct ls_session *session, const struct ls_wire_assignment *wire)
{
    struct ls_assignment *assignment = &session->assignment;
    int index = 0;

    if (wire->generation <= session->generation)
        return; /* never back to an older one */
    session->generation = wire->generation;
    (void)pthread_mutex_lock(&session->lock);
    assignment->generation = wire->generation;
    assignment->worker = wire->worker;
    assignment->first_rank = wire->first_rank;
    assignment->world = wire->world;
    for (int i = 0; i < wire->world; i++) {
        struct ls_member *member = &assignment->members[i];

        /* Workers stand in the order of their indices, the replicas of each side by side. */
        if (i > 0)
            index += wire->members[i].worker != wire->members[i - 1].worker;
        member->index = index;
        member->worker = wire->members[i].worker;
        member->incarnation = wire->members[i].incarnation;
        member->replica = wire->members[i].replica;
        member->port = wire->members[i].port;
        (void)ls_str_into(member->host, sizeof member->host, wire->members[i].host);
        (void)ls_str_into(member->address, sizeof member->address, wire->members[i].address);
    }
    (void)ls_str_into(assignment->provider, sizeof assignment->provider, wire->provider);
    (void)ls_str_into(assignment->rendezvous, sizeof assignment->rendezvous, wire->rendezvous);
    if (session->open == LSI_OPENING)
        session->open = LSI_OPENED;
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}

void lsi_take_order(struct ls_session *session, enum ls_order_kind order, const char *reason)
{
    (void)pthread_mutex_lock(&session->lock);
    if (session->order != LS_ORDER_ABORT) {
        session->order = order;
        (void)ls_str_into(session->reason, sizeof session->reason, reason);
    }
    (void)pthread_mutex_unlock(&session->lock);
    lsi_tell_abort(session);
}

void lsi_tell_abort(struct ls_session *session)
{
    char reason[sizeof session->reason];

    if (ls_session_order(session, reason) != LS_ORDER_ABORT)
        return;
    (void)pthread_mutex_lock(&session->abort_lock);
    if (session->on_abort != NULL && !session->abort_told) {
        session->abort_told = true;
        session->on_abort(session->abort_state, reason);
    }
    (void)pthread_mutex_unlock(&session->abort_lock);
}

static void on_order(struct ls_session *session, const struct ls_wire_order_message *order)
{
    if (order->kind == LS_WIRE_ORDER_STOP) {
        lsi_take_order(session, LS_ORDER_STOP, order->reason);
        return;
    }
    /* Before the first assignment there is nothing to abort: the opener gets the sentence. */
    (void)pthread_mutex_lock(&session->lock);
    if (session->open == LSI_OPENING) {
        session->open = LSI_NOT_OPENED;
        session->ended = true;
        (void)ls_error_set(&session->open_error, order->status == LS_OK ? LS_EINTERRUPTED : order->status, "%s",
                           order->reason);
        (void)pthread_cond_broadcast(&session->changed);
    }
    (void)pthread_mutex_unlock(&session->lock);
    lsi_take_order(session, LS_ORDER_ABORT, order->reason);
}

static void on_finish_ack(struct ls_session *session)
{
    ls_timer_stop(session->beat);
    session->stage = LSI_LEFT;
    ls_stream_end(session->stream);
    session->stream = NULL;
    (void)pthread_mutex_lock(&session->lock);
    session->finish_acked = true;
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}

void lsi_hear(struct ls_session *session, struct ls_message *message, const struct ls_frame_info *info)
{
    (void)info;
    switch (message->type) {
    case LS_MESSAGE_CHALLENGE:
        on_challenge(session, &message->challenge);
        break;
    case LS_MESSAGE_WELCOME:
        on_welcome(session, &message->welcome);
        break;
    case LS_MESSAGE_REFUSAL:
        on_refusal(session, &message->refusal);
        break;
    case LS_MESSAGE_ASSIGNMENT:
        on_assignment(session, &message->assignment);
        break;
    case LS_MESSAGE_ORDER:
        on_order(session, &message->order);
        break;
    case LS_MESSAGE_JOB:
        on_job(session, message);
        break;
    case LS_MESSAGE_FINISH_ACK:
        on_finish_ack(session);
        break;
    default:
        break; /* HEARTBEAT_ACK: that bytes came is all it says */
    }
}
