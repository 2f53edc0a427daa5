/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between a worker and the coordinator, as plain structs. Encoding is protobuf (message.proto), which
 * nothing outside core/wire sees. Decoding checks every length, range and text; what it gives is safe to use and print.
 */
#ifndef LOCKSTEP_CORE_WIRE_MESSAGE_H
#define LOCKSTEP_CORE_WIRE_MESSAGE_H

#include "core/base/buf.h"
#include "core/base/host.h"
#include "core/base/status.h"
#include "core/wire/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_WIRE_MAJOR 1 /* another major is refused */
#define LS_WIRE_MINOR 0
#define LS_WIRE_NUMERICS 1 /* version of docs/numerics.md that this build computes */
#define LS_WIRE_FEATURES UINT64_C(0)
#define LS_WIRE_MAX_MEMBERS 256
#define LS_WIRE_MAX_REPLICAS 16
#define LS_WIRE_NONCE 32
#define LS_WIRE_PROOF 32
#define LS_WIRE_SENTENCE 768
#define LS_WIRE_MAX_OVERRIDES 256
/* A worker that has heard nothing of the coordinator for so long leaves it. */
#define LS_WIRE_PATIENCE_MS(heartbeat_ms) (20 * (heartbeat_ms) > 10000 ? 20 * (heartbeat_ms) : 10000)
#define LS_WIRE_JOB_BYTES (1000 * 1024) /* of a job: with its frame less than a stream's queue */

/* X(name, number, most payload bytes): what a frame may carry. Numbers never change. */
#define LS_MESSAGE_LIST(X)      \
    X(HELLO, 1, 256)            \
    X(CHALLENGE, 2, 256)        \
    X(JOIN, 3, 1024)            \
    X(WELCOME, 4, 64)           \
    X(REFUSAL, 5, 1024)         \
    X(ASSIGNMENT, 6, 64 * 1024) \
    X(ORDER, 7, 1024)           \
    X(HEARTBEAT, 8, 64)         \
    X(HEARTBEAT_ACK, 9, 16)     \
    X(STEP_REPORT, 10, 512)     \
    X(CHECKPOINT, 11, 4608)     \
    X(FINISH, 12, 256 * 1024)   \
    X(FINISH_ACK, 13, 16)       \
    X(JOB_REQUEST, 14, 64)      \
    X(JOB, 15, LS_WIRE_JOB_BYTES)

enum ls_message_type {
#define LS_MESSAGE_ENUM(name, number, limit) LS_MESSAGE_##name = number,
    LS_MESSAGE_LIST(LS_MESSAGE_ENUM)
#undef LS_MESSAGE_ENUM
        LS_MESSAGE_END
};

struct ls_wire_hello {
    uint32_t major, minor;
    uint64_t features;
    uint8_t nonce[LS_WIRE_NONCE];
};

struct ls_wire_challenge {
    uint32_t major, minor;
    uint64_t features;
    uint8_t nonce[LS_WIRE_NONCE];
    uint8_t proof[LS_WIRE_PROOF];
};

struct ls_wire_join {
    uint8_t proof[LS_WIRE_PROOF];
    uint32_t numerics;
    char fingerprint[65];
    int replicas;
    int wanted_index; /* -1: any */
    uint16_t ports[LS_WIRE_MAX_REPLICAS];
    char host[LS_HOST_NAME_TEXT];
    int64_t pid;
    uint64_t known_answers; /* digest of core/device/known_answer.h; 0: not asked */
};

/* In place of a join: tell me the job. */
struct ls_wire_job_request {
    uint8_t proof[LS_WIRE_PROOF];
};

/* The words of the coordinator's command line that a worker needs too, and the files they name. All is the
 * message's. */
struct ls_wire_job {
    char *path; /* of the job file, absolute; other paths are relative to its directory */
    char *text; /* of the job file, not terminated; NULL: read it at its path */
    size_t text_length;
    char **overrides; /* "key.path=value", in order */
    int override_count;
    int64_t max_steps; /* 0: no limit */
    char *model_text;  /* of the model file; NULL: read it at its path */
    size_t model_length;
};

struct ls_wire_welcome {
    uint64_t worker;
    uint32_t incarnation;
    uint32_t heartbeat_ms;
};

struct ls_wire_refusal {
    enum ls_status status;
    char sentence[LS_WIRE_SENTENCE];
};

struct ls_wire_member {
    uint64_t worker;
    uint32_t incarnation;
    int replica;
    char host[LS_HOST_NAME_TEXT];
    char address[64];
    uint16_t port;
};

struct ls_wire_assignment {
    uint64_t generation;
    uint64_t worker;
    int first_rank;
    int world;
    struct ls_wire_member *members; /* world of them, in rank order; the message's */
    char provider[16];
    char rendezvous[108];
};

enum ls_wire_order { LS_WIRE_ORDER_STOP = 1, LS_WIRE_ORDER_ABORT = 2 };

struct ls_wire_order_message {
    enum ls_wire_order kind;
    enum ls_status status;
    char reason[LS_WIRE_SENTENCE];
};

struct ls_wire_heartbeat {
    uint64_t step;
    enum ls_phase phase;
    struct ls_wait_report wait;
};

struct ls_wire_report {
    struct ls_step_report report; /* its generation is the frame's */
    uint64_t first_step;          /* it stands for the steps first_step .. report.step: the newest wins */
};

struct ls_wire_checkpoint {
    uint64_t step;
    char path[4096];
};

struct ls_wire_finish {
    enum ls_status status;
    char *text; /* summary JSON or the error's sentence, NULL where there is none; the message's */
};

struct ls_message {
    enum ls_message_type type;
    union {
        struct ls_wire_hello hello;
        struct ls_wire_challenge challenge;
        struct ls_wire_join join;
        struct ls_wire_welcome welcome;
        struct ls_wire_refusal refusal;
        struct ls_wire_assignment assignment;
        struct ls_wire_order_message order;
        struct ls_wire_heartbeat heartbeat;
        struct ls_wire_report report;
        struct ls_wire_checkpoint checkpoint;
        struct ls_wire_finish finish;
        struct ls_wire_job_request job_request;
        struct ls_wire_job job;
    };
};

/* Name of a type, e.g. "heartbeat"; "unknown". Static memory. */
const char *ls_message_name(int type);
/* Most payload bytes of a type; 0 where the type does not exist. */
uint32_t ls_message_limit(int type);
/* Appends the payload. LS_EINVAL where it breaks the type's limit. */
enum ls_status ls_message_encode(const struct ls_message *message, struct ls_buf *out, struct ls_error *err);
/* Reads a payload of `type`. LS_ECORRUPT says which field is wrong. *message ends with ls_message_deinit. */
enum ls_status ls_message_decode(enum ls_message_type type, const uint8_t *payload, size_t length,
                                 struct ls_message *message, struct ls_error *err);
/* Frees what a job owns and empties it. */
void ls_wire_job_deinit(struct ls_wire_job *job);
/* Frees what the message owns. Accepts a message that owns nothing. */
void ls_message_deinit(struct ls_message *message);

#endif
