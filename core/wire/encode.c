/* SPDX-License-Identifier: Apache-2.0 */
/* Plain structs into protobuf payloads. Nothing is allocated but the payload: protobuf-c packs from borrowed memory. */
#include "core/wire/message.h"

#include "core/base/alloc.h"
#include "core/wire/message.pb-c.h"

#include <string.h>

static ProtobufCBinaryData borrow(const uint8_t *bytes, size_t length)
{
    return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)(uintptr_t)bytes};
}

static enum ls_status pack(const ProtobufCMessage *message, struct ls_buf *out)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    uint8_t *place;

    if (length == 0)
        return LS_OK; /* every field has its default */
    place = ls_buf_extend(out, length);
    if (place == NULL)
        return LS_ENOMEM;
    (void)protobuf_c_message_pack(message, place);
    return LS_OK;
}

static enum ls_status encode_hello(const struct ls_wire_hello *hello, struct ls_buf *out)
{
    Lockstep__Hello pb = LOCKSTEP__HELLO__INIT;

    pb.major = hello->major;
    pb.minor = hello->minor;
    pb.features = hello->features;
    pb.nonce = borrow(hello->nonce, sizeof hello->nonce);
    return pack(&pb.base, out);
}

static enum ls_status encode_challenge(const struct ls_wire_challenge *challenge, struct ls_buf *out)
{
    Lockstep__Challenge pb = LOCKSTEP__CHALLENGE__INIT;

    pb.major = challenge->major;
    pb.minor = challenge->minor;
    pb.features = challenge->features;
    pb.nonce = borrow(challenge->nonce, sizeof challenge->nonce);
    pb.proof = borrow(challenge->proof, sizeof challenge->proof);
    return pack(&pb.base, out);
}

static enum ls_status encode_join(const struct ls_wire_join *join, struct ls_buf *out)
{
    Lockstep__Join pb = LOCKSTEP__JOIN__INIT;
    uint32_t ports[LS_WIRE_MAX_REPLICAS];

    for (int i = 0; i < LS_WIRE_MAX_REPLICAS; i++)
        ports[i] = join->ports[i];
    pb.proof = borrow(join->proof, sizeof join->proof);
    pb.numerics = join->numerics;
    pb.fingerprint = (char *)(uintptr_t)join->fingerprint;
    pb.replicas = (uint32_t)join->replicas;
    pb.wanted_index = join->wanted_index;
    pb.n_ports = (size_t)join->replicas;
    pb.ports = ports;
    pb.host = (char *)(uintptr_t)join->host;
    pb.pid = (uint64_t)join->pid;
    pb.known_answers = join->known_answers;
    return pack(&pb.base, out);
}

static enum ls_status encode_welcome(const struct ls_wire_welcome *welcome, struct ls_buf *out)
{
    Lockstep__Welcome pb = LOCKSTEP__WELCOME__INIT;

    pb.worker = welcome->worker;
    pb.incarnation = welcome->incarnation;
    pb.heartbeat_ms = welcome->heartbeat_ms;
    return pack(&pb.base, out);
}

static enum ls_status encode_refusal(const struct ls_wire_refusal *refusal, struct ls_buf *out)
{
    Lockstep__Refusal pb = LOCKSTEP__REFUSAL__INIT;

    pb.status = refusal->status;
    pb.sentence = (char *)(uintptr_t)refusal->sentence;
    return pack(&pb.base, out);
}

static void fill_member(Lockstep__Member *pb, const struct ls_wire_member *member)
{
    lockstep__member__init(pb);
    pb->worker = member->worker;
    pb->incarnation = member->incarnation;
    pb->replica = (uint32_t)member->replica;
    pb->host = (char *)(uintptr_t)member->host;
    pb->address = (char *)(uintptr_t)member->address;
    pb->port = member->port;
}

static enum ls_status encode_assignment(const struct ls_wire_assignment *assignment, struct ls_buf *out)
{
    Lockstep__Assignment pb = LOCKSTEP__ASSIGNMENT__INIT;
    size_t world = (size_t)assignment->world;
    Lockstep__Member *members = ls_alloc_zeroed(world, sizeof *members);
    Lockstep__Member **pointers = ls_alloc_zeroed(world, sizeof(Lockstep__Member *));
    enum ls_status status = LS_ENOMEM;

    if (members == NULL || pointers == NULL)
        goto free_members;
    for (size_t i = 0; i < world; i++) {
        fill_member(&members[i], &assignment->members[i]);
        pointers[i] = &members[i];
    }
    pb.generation = assignment->generation;
    pb.worker = assignment->worker;
    pb.first_rank = (uint32_t)assignment->first_rank;
    pb.n_members = world;
    pb.members = pointers;
    pb.provider = (char *)(uintptr_t)assignment->provider;
    pb.rendezvous = (char *)(uintptr_t)assignment->rendezvous;
    status = pack(&pb.base, out);
free_members:
    ls_free(pointers);
    ls_free(members);
    return status;
}

static enum ls_status encode_order(const struct ls_wire_order_message *order, struct ls_buf *out)
{
    Lockstep__Order pb = LOCKSTEP__ORDER__INIT;

    pb.kind = (uint32_t)order->kind;
    pb.status = order->status;
    pb.reason = (char *)(uintptr_t)order->reason;
    return pack(&pb.base, out);
}

static enum ls_status encode_heartbeat(const struct ls_wire_heartbeat *heartbeat, struct ls_buf *out)
{
    Lockstep__Heartbeat pb = LOCKSTEP__HEARTBEAT__INIT;

    pb.step = heartbeat->step;
    pb.phase = (uint32_t)heartbeat->phase;
    pb.wait = (uint32_t)heartbeat->wait.kind;
    if (heartbeat->wait.kind != LS_WAIT_NONE) {
        pb.rank = (uint32_t)heartbeat->wait.rank;
        pb.for_rank = (uint32_t)(heartbeat->wait.for_rank + 1);
        pb.number = heartbeat->wait.number;
        pb.waited_ms = heartbeat->wait.waited_ms;
    }
    return pack(&pb.base, out);
}

static enum ls_status encode_report(const struct ls_wire_report *wire, struct ls_buf *out)
{
    const struct ls_step_report *report = &wire->report;
    Lockstep__StepReport pb = LOCKSTEP__STEP_REPORT__INIT;

    pb.first_step = wire->first_step;
    pb.step = report->step;
    pb.epoch = report->epoch;
    pb.fingerprint = report->fingerprint;
    pb.loss = report->loss;
    pb.n_metrics = (size_t)report->metric_count;
    pb.metrics = (double *)(uintptr_t)report->metrics;
    pb.samples_per_s = report->samples_per_s;
    pb.validation = report->validation;
    return pack(&pb.base, out);
}

static enum ls_status encode_checkpoint(const struct ls_wire_checkpoint *checkpoint, struct ls_buf *out)
{
    Lockstep__Checkpoint pb = LOCKSTEP__CHECKPOINT__INIT;

    pb.step = checkpoint->step;
    pb.path = (char *)(uintptr_t)checkpoint->path;
    return pack(&pb.base, out);
}

static enum ls_status encode_finish(const struct ls_wire_finish *finish, struct ls_buf *out)
{
    Lockstep__Finish pb = LOCKSTEP__FINISH__INIT;

    pb.status = finish->status;
    pb.has_text = finish->text != NULL;
    if (finish->text != NULL)
        pb.text = finish->text;
    return pack(&pb.base, out);
}

static enum ls_status encode_job_request(const struct ls_wire_job_request *request, struct ls_buf *out)
{
    Lockstep__JobRequest pb = LOCKSTEP__JOB_REQUEST__INIT;

    pb.proof = borrow(request->proof, sizeof request->proof);
    return pack(&pb.base, out);
}

static enum ls_status encode_job(const struct ls_wire_job *job, struct ls_buf *out)
{
    Lockstep__Job pb = LOCKSTEP__JOB__INIT;

    pb.path = job->path;
    pb.has_text = job->text != NULL;
    if (pb.has_text)
        pb.text = borrow((const uint8_t *)job->text, job->text_length);
    pb.n_overrides = (size_t)job->override_count;
    pb.overrides = job->overrides;
    pb.max_steps = (uint64_t)job->max_steps;
    pb.has_model_text = job->model_text != NULL;
    if (pb.has_model_text)
        pb.model_text = borrow((const uint8_t *)job->model_text, job->model_length);
    return pack(&pb.base, out);
}

static enum ls_status encode_any(const struct ls_message *message, struct ls_buf *out)
{
    switch (message->type) {
    case LS_MESSAGE_HELLO:
        return encode_hello(&message->hello, out);
    case LS_MESSAGE_CHALLENGE:
        return encode_challenge(&message->challenge, out);
    case LS_MESSAGE_JOIN:
        return encode_join(&message->join, out);
    case LS_MESSAGE_WELCOME:
        return encode_welcome(&message->welcome, out);
    case LS_MESSAGE_REFUSAL:
        return encode_refusal(&message->refusal, out);
    case LS_MESSAGE_ASSIGNMENT:
        return encode_assignment(&message->assignment, out);
    case LS_MESSAGE_ORDER:
        return encode_order(&message->order, out);
    case LS_MESSAGE_HEARTBEAT:
        return encode_heartbeat(&message->heartbeat, out);
    case LS_MESSAGE_STEP_REPORT:
        return encode_report(&message->report, out);
    case LS_MESSAGE_CHECKPOINT:
        return encode_checkpoint(&message->checkpoint, out);
    case LS_MESSAGE_FINISH:
        return encode_finish(&message->finish, out);
    case LS_MESSAGE_JOB_REQUEST:
        return encode_job_request(&message->job_request, out);
    case LS_MESSAGE_JOB:
        return encode_job(&message->job, out);
    case LS_MESSAGE_HEARTBEAT_ACK:
    case LS_MESSAGE_FINISH_ACK:
        return LS_OK; /* nothing to say but the type */
    case LS_MESSAGE_END:
        break;
    }
    return LS_EINVAL;
}

enum ls_status ls_message_encode(const struct ls_message *message, struct ls_buf *out, struct ls_error *err)
{
    size_t begin = out->length;
    enum ls_status status = encode_any(message, out);

    if (status != LS_OK)
        return ls_error_set(err, status, "cannot write a %s message: %s", ls_message_name(message->type),
                            ls_status_sentence(status));
    if (out->length - begin > ls_message_limit(message->type))
        return ls_error_set(err, LS_EINVAL, "a %s message of %zu bytes is longer than the %u allowed",
                            ls_message_name(message->type), out->length - begin, ls_message_limit(message->type));
    return LS_OK;
}
