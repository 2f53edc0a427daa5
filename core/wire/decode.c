/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf payloads into plain structs, for bytes that may come from anybody. Everything that a later user relies on is
 * checked here: lengths, ranges, enumerations, text that is safe to print. Unknown fields are skipped (a newer minor).
 */
#include "core/wire/message.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/wire/message.pb-c.h"

#include <math.h>
#include <string.h>

static void *pb_alloc(void *unused, size_t size)
{
    (void)unused;
    return ls_alloc(size);
}

static void pb_free(void *unused, void *memory)
{
    (void)unused;
    ls_free(memory);
}

static ProtobufCAllocator allocator = {.alloc = pb_alloc, .free = pb_free};

static enum ls_status wrong(struct ls_error *err, const char *message, const char *field)
{
    return ls_error_set(err, LS_ECORRUPT, "the field %s of a %s message is not valid", field, message);
}

static void copy_sentence(char *to, size_t size, const char *from)
{
    (void)ls_str_into(to, size, from);
    ls_str_calm(to);
}

/* A name or numeric address: letters, digits and . - _ : % only. */
static bool copy_name(char *to, size_t size, const char *from)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";

    return strspn(from, allowed) == strlen(from) && ls_str_into(to, size, from);
}

/* A path: nothing unprintable. */
static bool copy_path(char *to, size_t size, const char *from)
{
    for (const char *c = from; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    }
    return ls_str_into(to, size, from);
}

static bool copy_bytes(uint8_t *to, size_t size, const ProtobufCBinaryData *from)
{
    if (from->len != size)
        return false;
    memcpy(to, from->data, size);
    return true;
}

static enum ls_status status_in(int32_t number)
{
    switch (number) {
#define LS_STATUS_CASE(code, value, name, exit_status, sentence) \
    case value:                                                  \
        return code;
        LS_STATUS_LIST(LS_STATUS_CASE)
#undef LS_STATUS_CASE
    default:
        return LS_EINTERNAL; /* a newer peer's code: the sentence still says what happened */
    }
}

static enum ls_status decode_hello(const void *pb_any, struct ls_wire_hello *hello, struct ls_error *err)
{
    const Lockstep__Hello *pb = pb_any;

    hello->major = pb->major;
    hello->minor = pb->minor;
    hello->features = pb->features;
    return copy_bytes(hello->nonce, sizeof hello->nonce, &pb->nonce) ? LS_OK : wrong(err, "HELLO", "nonce");
}

static enum ls_status decode_challenge(const void *pb_any, struct ls_wire_challenge *challenge, struct ls_error *err)
{
    const Lockstep__Challenge *pb = pb_any;

    challenge->major = pb->major;
    challenge->minor = pb->minor;
    challenge->features = pb->features;
    if (!copy_bytes(challenge->nonce, sizeof challenge->nonce, &pb->nonce))
        return wrong(err, "CHALLENGE", "nonce");
    if (!copy_bytes(challenge->proof, sizeof challenge->proof, &pb->proof))
        return wrong(err, "CHALLENGE", "proof");
    return LS_OK;
}

static enum ls_status decode_join(const void *pb_any, struct ls_wire_join *join, struct ls_error *err)
{
    const Lockstep__Join *pb = pb_any;

    if (!copy_bytes(join->proof, sizeof join->proof, &pb->proof))
        return wrong(err, "JOIN", "proof");
    if (strlen(pb->fingerprint) != 64 || strspn(pb->fingerprint, "0123456789abcdef") != 64)
        return wrong(err, "JOIN", "fingerprint");
    (void)ls_str_into(join->fingerprint, sizeof join->fingerprint, pb->fingerprint);
    if (pb->replicas < 1 || pb->replicas > LS_WIRE_MAX_REPLICAS || pb->n_ports != pb->replicas)
        return wrong(err, "JOIN", "replicas");
    for (size_t i = 0; i < pb->n_ports; i++) {
        if (pb->ports[i] > 65535)
            return wrong(err, "JOIN", "ports");
        join->ports[i] = (uint16_t)pb->ports[i];
    }
    if (pb->wanted_index < -1 || pb->wanted_index > 1000000)
        return wrong(err, "JOIN", "wanted_index");
    if (!copy_name(join->host, sizeof join->host, pb->host))
        return wrong(err, "JOIN", "host");
    if (pb->pid > INT32_MAX)
        return wrong(err, "JOIN", "pid");
    join->numerics = pb->numerics;
    join->replicas = (int)pb->replicas;
    join->wanted_index = pb->wanted_index;
    join->pid = (int64_t)pb->pid;
    join->known_answers = pb->known_answers;
    return LS_OK;
}

static enum ls_status decode_welcome(const void *pb_any, struct ls_wire_welcome *welcome, struct ls_error *err)
{
    const Lockstep__Welcome *pb = pb_any;

    if (pb->heartbeat_ms < 1 || pb->heartbeat_ms > 3600000)
        return wrong(err, "WELCOME", "heartbeat_ms");
    welcome->worker = pb->worker;
    welcome->incarnation = pb->incarnation;
    welcome->heartbeat_ms = pb->heartbeat_ms;
    return LS_OK;
}

static enum ls_status decode_refusal(const void *pb_any, struct ls_wire_refusal *refusal, struct ls_error *err)
{
    const Lockstep__Refusal *pb = pb_any;

    refusal->status = status_in(pb->status);
    if (refusal->status == LS_OK)
        return wrong(err, "REFUSAL", "status");
    copy_sentence(refusal->sentence, sizeof refusal->sentence, pb->sentence);
    return LS_OK;
}

static enum ls_status decode_member(const Lockstep__Member *pb, struct ls_wire_member *member, struct ls_error *err)
{
    if (!copy_name(member->host, sizeof member->host, pb->host))
        return wrong(err, "ASSIGNMENT", "members.host");
    if (!copy_name(member->address, sizeof member->address, pb->address))
        return wrong(err, "ASSIGNMENT", "members.address");
    if (pb->replica >= LS_WIRE_MAX_REPLICAS || pb->port > 65535)
        return wrong(err, "ASSIGNMENT", "members");
    member->worker = pb->worker;
    member->incarnation = pb->incarnation;
    member->replica = (int)pb->replica;
    member->port = (uint16_t)pb->port;
    return LS_OK;
}

static enum ls_status decode_assignment(const void *pb_any, struct ls_wire_assignment *assignment, struct ls_error *err)
{
    const Lockstep__Assignment *pb = pb_any;
    enum ls_status status = LS_OK;

    if (pb->n_members < 1 || pb->n_members > LS_WIRE_MAX_MEMBERS || pb->first_rank >= pb->n_members)
        return wrong(err, "ASSIGNMENT", "members");
    if (!copy_name(assignment->provider, sizeof assignment->provider, pb->provider))
        return wrong(err, "ASSIGNMENT", "provider");
    if (!copy_path(assignment->rendezvous, sizeof assignment->rendezvous, pb->rendezvous))
        return wrong(err, "ASSIGNMENT", "rendezvous");
    assignment->generation = pb->generation;
    assignment->worker = pb->worker;
    assignment->first_rank = (int)pb->first_rank;
    assignment->world = (int)pb->n_members;
    assignment->members = ls_alloc_zeroed(pb->n_members, sizeof *assignment->members);
    if (assignment->members == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for an assignment");
    for (size_t i = 0; i < pb->n_members && status == LS_OK; i++)
        status = decode_member(pb->members[i], &assignment->members[i], err);
    return status;
}

static enum ls_status decode_order(const void *pb_any, struct ls_wire_order_message *order, struct ls_error *err)
{
    const Lockstep__Order *pb = pb_any;

    if (pb->kind != LS_WIRE_ORDER_STOP && pb->kind != LS_WIRE_ORDER_ABORT)
        return wrong(err, "ORDER", "kind");
    order->kind = (enum ls_wire_order)pb->kind;
    order->status = status_in(pb->status);
    copy_sentence(order->reason, sizeof order->reason, pb->reason);
    return LS_OK;
}

static enum ls_status decode_heartbeat(const void *pb_any, struct ls_wire_heartbeat *heartbeat, struct ls_error *err)
{
    const Lockstep__Heartbeat *pb = pb_any;

    if (pb->phase > LS_PHASE_CHECKPOINT)
        return wrong(err, "HEARTBEAT", "phase");
    heartbeat->step = pb->step;
    heartbeat->phase = (enum ls_phase)pb->phase;
    heartbeat->wait = (struct ls_wait_report){.kind = LS_WAIT_NONE};
    if (pb->wait == LS_WAIT_NONE)
        return LS_OK;
    if (pb->rank >= LS_WIRE_MAX_MEMBERS || pb->for_rank > LS_WIRE_MAX_MEMBERS)
        return wrong(err, "HEARTBEAT", pb->rank >= LS_WIRE_MAX_MEMBERS ? "rank" : "for_rank");
    /* A newer side may wait for things that this one has no word for. */
    heartbeat->wait.kind = pb->wait < LS_WAIT_OTHER ? (enum ls_wait_kind)pb->wait : LS_WAIT_OTHER;
    heartbeat->wait.rank = (int)pb->rank;
    heartbeat->wait.for_rank = (int)pb->for_rank - 1;
    heartbeat->wait.number = pb->number;
    heartbeat->wait.waited_ms = pb->waited_ms;
    return LS_OK;
}

static enum ls_status decode_report(const void *pb_any, struct ls_wire_report *wire, struct ls_error *err)
{
    struct ls_step_report *report = &wire->report;
    const Lockstep__StepReport *pb = pb_any;

    if (pb->n_metrics > sizeof report->metrics / sizeof report->metrics[0])
        return wrong(err, "STEP_REPORT", "metrics");
    for (size_t i = 0; i < pb->n_metrics; i++)
        report->metrics[i] = pb->metrics[i];
    if (pb->first_step > pb->step)
        return wrong(err, "STEP_REPORT", "first_step");
    wire->first_step = pb->first_step;
    report->step = pb->step;
    report->epoch = pb->epoch;
    report->fingerprint = pb->fingerprint;
    report->loss = pb->loss;
    report->metric_count = (int)pb->n_metrics;
    report->samples_per_s = isfinite(pb->samples_per_s) ? pb->samples_per_s : 0;
    report->validation = pb->validation;
    return LS_OK;
}

static enum ls_status decode_checkpoint(const void *pb_any, struct ls_wire_checkpoint *checkpoint, struct ls_error *err)
{
    const Lockstep__Checkpoint *pb = pb_any;

    checkpoint->step = pb->step;
    if (!copy_path(checkpoint->path, sizeof checkpoint->path, pb->path))
        return wrong(err, "CHECKPOINT", "path");
    return LS_OK;
}

static enum ls_status decode_finish(const void *pb_any, struct ls_wire_finish *finish, struct ls_error *err)
{
    const Lockstep__Finish *pb = pb_any;

    finish->status = status_in(pb->status);
    finish->text = NULL;
    if (!pb->has_text)
        return LS_OK;
    finish->text = ls_str_copy(pb->text);
    if (finish->text == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a FINISH message");
    for (char *c = finish->text; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            *c = '?';
    }
    return LS_OK;
}

static enum ls_status decode_job_request(const void *pb_any, struct ls_wire_job_request *request, struct ls_error *err)
{
    const Lockstep__JobRequest *pb = pb_any;

    return copy_bytes(request->proof, sizeof request->proof, &pb->proof) ? LS_OK : wrong(err, "JOB_REQUEST", "proof");
}

/* An absolute path, as new memory. */
static bool take_path(char **to, const char *from)
{
    char path[4096];

    if (from[0] != '/' || !copy_path(path, sizeof path, from))
        return false;
    *to = ls_str_copy(path);
    return *to != NULL;
}

static bool take_text(char **to, size_t *length, bool has, const ProtobufCBinaryData *from)
{
    if (!has)
        return from->len == 0;
    *to = ls_alloc(from->len + 1); /* an empty text is not an absent one */
    if (*to == NULL)
        return false;
    if (from->len > 0)
        memcpy(*to, from->data, from->len);
    *length = from->len;
    return true;
}

/* Shown in sentences about the job, so it may not hold what a terminal would obey. */
static bool printable(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            return false;
    }
    return true;
}

static enum ls_status decode_job(const void *pb_any, struct ls_wire_job *job, struct ls_error *err)
{
    const Lockstep__Job *pb = pb_any;

    if (!take_path(&job->path, pb->path))
        return wrong(err, "JOB", "path");
    if (!take_text(&job->text, &job->text_length, pb->has_text, &pb->text))
        return wrong(err, "JOB", "text");
    if (!take_text(&job->model_text, &job->model_length, pb->has_model_text, &pb->model_text))
        return wrong(err, "JOB", "model_text");
    if (pb->max_steps > INT64_MAX || pb->n_overrides > LS_WIRE_MAX_OVERRIDES)
        return wrong(err, "JOB", pb->max_steps > INT64_MAX ? "max_steps" : "overrides");
    job->max_steps = (int64_t)pb->max_steps;
    job->overrides = ls_alloc_zeroed(pb->n_overrides + 1, sizeof *job->overrides);
    if (job->overrides == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a JOB message");
    for (size_t i = 0; i < pb->n_overrides; i++) {
        job->overrides[i] = printable(pb->overrides[i]) ? ls_str_copy(pb->overrides[i]) : NULL;
        if (job->overrides[i] == NULL)
            return wrong(err, "JOB", "overrides");
        job->override_count++;
    }
    return LS_OK;
}

static const ProtobufCMessageDescriptor *descriptor_of(enum ls_message_type type)
{
    switch (type) {
    case LS_MESSAGE_HELLO:
        return &lockstep__hello__descriptor;
    case LS_MESSAGE_CHALLENGE:
        return &lockstep__challenge__descriptor;
    case LS_MESSAGE_JOIN:
        return &lockstep__join__descriptor;
    case LS_MESSAGE_WELCOME:
        return &lockstep__welcome__descriptor;
    case LS_MESSAGE_REFUSAL:
        return &lockstep__refusal__descriptor;
    case LS_MESSAGE_ASSIGNMENT:
        return &lockstep__assignment__descriptor;
    case LS_MESSAGE_ORDER:
        return &lockstep__order__descriptor;
    case LS_MESSAGE_HEARTBEAT:
        return &lockstep__heartbeat__descriptor;
    case LS_MESSAGE_HEARTBEAT_ACK:
        return &lockstep__heartbeat_ack__descriptor;
    case LS_MESSAGE_STEP_REPORT:
        return &lockstep__step_report__descriptor;
    case LS_MESSAGE_CHECKPOINT:
        return &lockstep__checkpoint__descriptor;
    case LS_MESSAGE_FINISH:
        return &lockstep__finish__descriptor;
    case LS_MESSAGE_FINISH_ACK:
        return &lockstep__finish_ack__descriptor;
    case LS_MESSAGE_JOB_REQUEST:
        return &lockstep__job_request__descriptor;
    case LS_MESSAGE_JOB:
        return &lockstep__job__descriptor;
    case LS_MESSAGE_END:
        break;
    }
    return NULL;
}

static enum ls_status decode_any(const void *pb, struct ls_message *message, struct ls_error *err)
{
    switch (message->type) {
    case LS_MESSAGE_HELLO:
        return decode_hello(pb, &message->hello, err);
    case LS_MESSAGE_CHALLENGE:
        return decode_challenge(pb, &message->challenge, err);
    case LS_MESSAGE_JOIN:
        return decode_join(pb, &message->join, err);
    case LS_MESSAGE_WELCOME:
        return decode_welcome(pb, &message->welcome, err);
    case LS_MESSAGE_REFUSAL:
        return decode_refusal(pb, &message->refusal, err);
    case LS_MESSAGE_ASSIGNMENT:
        return decode_assignment(pb, &message->assignment, err);
    case LS_MESSAGE_ORDER:
        return decode_order(pb, &message->order, err);
    case LS_MESSAGE_HEARTBEAT:
        return decode_heartbeat(pb, &message->heartbeat, err);
    case LS_MESSAGE_STEP_REPORT:
        return decode_report(pb, &message->report, err);
    case LS_MESSAGE_CHECKPOINT:
        return decode_checkpoint(pb, &message->checkpoint, err);
    case LS_MESSAGE_FINISH:
        return decode_finish(pb, &message->finish, err);
    case LS_MESSAGE_JOB_REQUEST:
        return decode_job_request(pb, &message->job_request, err);
    case LS_MESSAGE_JOB:
        return decode_job(pb, &message->job, err);
    case LS_MESSAGE_HEARTBEAT_ACK:
    case LS_MESSAGE_FINISH_ACK:
    case LS_MESSAGE_END:
        break;
    }
    return LS_OK;
}

enum ls_status ls_message_decode(enum ls_message_type type, const uint8_t *payload, size_t length,
                                 struct ls_message *message, struct ls_error *err)
{
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(type);
    ProtobufCMessage *pb;
    enum ls_status status;

    if (descriptor == NULL || length > ls_message_limit(type))
        return ls_error_set(err, LS_ECORRUPT, "a message of an unknown kind or length came");
    pb = protobuf_c_message_unpack(descriptor, &allocator, length, payload);
    if (pb == NULL)
        return ls_error_set(err, LS_ECORRUPT, "a %s message cannot be read", ls_message_name(type));
    memset(message, 0, sizeof *message);
    message->type = type;
    status = decode_any(pb, message, err);
    protobuf_c_message_free_unpacked(pb, &allocator);
    if (status != LS_OK)
        ls_message_deinit(message);
    return status;
}
