/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what goes in comes out, and nothing else does. */
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/wire/channel.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t secret[32] = {1, 2, 3};

static struct ls_wire_transcript transcript(void)
{
    struct ls_wire_transcript t = {.hello = {.major = 1}, .challenge = {.major = 1}};

    memset(t.hello.nonce, 5, sizeof t.hello.nonce);
    memset(t.challenge.nonce, 6, sizeof t.challenge.nonce);
    return t;
}

static void pair(struct ls_channel *worker, struct ls_channel *coordinator)
{
    struct ls_wire_transcript t = transcript();

    memset(worker, 0, sizeof *worker);
    memset(coordinator, 0, sizeof *coordinator);
    worker->allowed = coordinator->allowed = UINT32_MAX;
    ls_channel_key(worker, secret, LS_WIRE_WORKER, &t);
    ls_channel_key(coordinator, secret, LS_WIRE_COORDINATOR, &t);
}

static struct ls_message a_report(void)
{
    struct ls_message message = {.type = LS_MESSAGE_STEP_REPORT};

    message.report.first_step = 40;
    message.report.report = (struct ls_step_report){
        .step = 41, .epoch = 2, .fingerprint = 77, .loss = 0.5, .metric_count = 2, .metrics = {0.25, 0.75}};
    return message;
}

static enum ls_status pass(struct ls_channel *from, struct ls_channel *to, const struct ls_message *message,
                           struct ls_message *got, struct ls_frame_info *info)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf bytes = {0};
    enum ls_status status;

    cr_assert_eq(ls_channel_pack(from, message, 9, 4, &bytes, &err), LS_OK, "%s", err.message);
    status = ls_channel_feed(to, bytes.data, bytes.length, &err);
    if (status == LS_OK)
        status = ls_channel_next(to, got, info, &err);
    ls_buf_deinit(&bytes);
    return status;
}

/* A report keeps every field, and generation and incarnation ride with it. */
Test(channel, carries_a_report)
{
    struct ls_channel worker, coordinator;
    struct ls_message message = a_report(), got;
    struct ls_frame_info info;

    pair(&worker, &coordinator);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(pass(&worker, &coordinator, &message, &got, &info), LS_OK);
        cr_expect_eq(info.generation, 9);
        cr_expect_eq(info.incarnation, 4);
        cr_expect_eq(info.sequence, i);
        cr_expect_eq(got.report.first_step, 40);
        cr_expect_eq(memcmp(&got.report.report, &message.report.report, sizeof got.report.report), 0);
    }
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* A message whose fields all have their defaults is a frame too. */
Test(channel, carries_an_empty_message)
{
    struct ls_channel worker, coordinator;
    struct ls_message message = {.type = LS_MESSAGE_FINISH}, got;
    struct ls_frame_info info;

    pair(&worker, &coordinator);
    cr_assert_eq(pass(&worker, &coordinator, &message, &got, &info), LS_OK);
    cr_expect_eq(got.finish.status, LS_OK);
    cr_expect_null(got.finish.text);
    message = (struct ls_message){.type = LS_MESSAGE_HEARTBEAT_ACK};
    cr_assert_eq(pass(&worker, &coordinator, &message, &got, &info), LS_OK);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* The largest assignment fits its limit and comes out whole. */
Test(channel, carries_the_largest_assignment)
{
    struct ls_wire_member *members = ls_alloc_zeroed(LS_WIRE_MAX_MEMBERS, sizeof *members);
    struct ls_channel worker, coordinator;
    struct ls_message message = {.type = LS_MESSAGE_ASSIGNMENT}, got;
    struct ls_frame_info info;

    pair(&worker, &coordinator);
    for (int i = 0; i < LS_WIRE_MAX_MEMBERS; i++) {
        members[i] =
            (struct ls_wire_member){.worker = UINT64_MAX, .incarnation = UINT32_MAX, .replica = 15, .port = 65535};
        memset(members[i].host, 'h', sizeof members[i].host - 1);
        memset(members[i].address, '9', sizeof members[i].address - 1);
    }
    message.assignment = (struct ls_wire_assignment){
        .generation = 3, .worker = 8, .first_rank = 200, .world = LS_WIRE_MAX_MEMBERS, .members = members};
    memset(message.assignment.rendezvous, 'r', sizeof message.assignment.rendezvous - 1);
    (void)ls_str_into(message.assignment.provider, 16, "shm");
    cr_assert_eq(pass(&coordinator, &worker, &message, &got, &info), LS_OK);
    cr_expect_eq(got.assignment.world, LS_WIRE_MAX_MEMBERS);
    cr_expect_eq(got.assignment.first_rank, 200);
    cr_expect_eq(memcmp(got.assignment.members, members, LS_WIRE_MAX_MEMBERS * sizeof *members), 0);
    cr_expect_str_eq(got.assignment.rendezvous, message.assignment.rendezvous);
    ls_message_deinit(&got);
    ls_free(members);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* Bytes may come one at a time. */
Test(channel, takes_bytes_one_by_one)
{
    struct ls_channel worker, coordinator;
    struct ls_message message = a_report(), got;
    struct ls_frame_info info;
    struct ls_buf bytes = {0};

    pair(&worker, &coordinator);
    cr_assert_eq(ls_channel_pack(&worker, &message, 1, 1, &bytes, NULL), LS_OK);
    for (size_t i = 0; i < bytes.length; i++) {
        cr_assert_eq(ls_channel_feed(&coordinator, bytes.data + i, 1, NULL), LS_OK);
        cr_expect_eq(ls_channel_next(&coordinator, &got, &info, NULL), i + 1 < bytes.length ? LS_EAGAIN : LS_OK);
    }
    ls_buf_deinit(&bytes);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* Any flipped bit is found, with and without a key; no message comes out. */
Test(channel, finds_every_flipped_bit)
{
    for (int keyed = 0; keyed < 2; keyed++) {
        struct ls_channel worker, coordinator;
        struct ls_message message = a_report(), got;
        struct ls_frame_info info;
        struct ls_buf bytes = {0};

        pair(&worker, &coordinator);
        worker.keyed = coordinator.keyed = keyed == 1;
        cr_assert_eq(ls_channel_pack(&worker, &message, 1, 1, &bytes, NULL), LS_OK);
        for (size_t bit = 0; bit < 8 * bytes.length; bit++) {
            struct ls_channel fresh = {.allowed = coordinator.allowed, .keyed = coordinator.keyed};
            enum ls_status status;

            memcpy(fresh.receive_key, coordinator.receive_key, sizeof fresh.receive_key);
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_eq(ls_channel_feed(&fresh, bytes.data, bytes.length, NULL), LS_OK);
            status = ls_channel_next(&fresh, &got, &info, NULL);
            cr_expect(status == LS_ECORRUPT || status == LS_EAUTH, "bit %zu keyed %d", bit, keyed);
            bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            ls_channel_deinit(&fresh);
        }
        ls_buf_deinit(&bytes);
        ls_channel_deinit(&worker);
        ls_channel_deinit(&coordinator);
    }
}

/* A frame that is repeated, skipped or sent back to its sender is refused. */
Test(channel, refuses_replay_and_reflection)
{
    struct ls_channel worker, coordinator;
    struct ls_message message = a_report(), got;
    struct ls_frame_info info;
    struct ls_buf first = {0}, second = {0};

    pair(&worker, &coordinator);
    cr_assert_eq(ls_channel_pack(&worker, &message, 1, 1, &first, NULL), LS_OK);
    cr_assert_eq(ls_channel_pack(&worker, &message, 1, 1, &second, NULL), LS_OK);
    cr_assert_eq(ls_channel_feed(&coordinator, first.data, first.length, NULL), LS_OK);
    cr_assert_eq(ls_channel_next(&coordinator, &got, &info, NULL), LS_OK);
    cr_assert_eq(ls_channel_feed(&coordinator, first.data, first.length, NULL), LS_OK);
    cr_expect_eq(ls_channel_next(&coordinator, &got, &info, NULL), LS_ECORRUPT);
    cr_assert_eq(ls_channel_feed(&worker, first.data, first.length, NULL), LS_OK);
    cr_expect_eq(ls_channel_next(&worker, &got, &info, NULL), LS_EAUTH);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
    pair(&worker, &coordinator);
    cr_assert_eq(ls_channel_feed(&coordinator, second.data, second.length, NULL), LS_OK);
    cr_expect_eq(ls_channel_next(&coordinator, &got, &info, NULL), LS_ECORRUPT);
    ls_buf_deinit(&first);
    ls_buf_deinit(&second);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* A type that may not come now, or a length beyond its limit, is refused from the header alone. */
Test(channel, refuses_before_the_payload)
{
    struct ls_channel worker, coordinator;
    struct ls_message message = a_report(), got;
    struct ls_frame_info info;
    struct ls_buf bytes = {0};
    uint32_t crc;

    pair(&worker, &coordinator);
    cr_assert_eq(ls_channel_pack(&worker, &message, 1, 1, &bytes, NULL), LS_OK);
    coordinator.allowed = LS_MESSAGE_BIT(LS_MESSAGE_HEARTBEAT);
    cr_assert_eq(ls_channel_feed(&coordinator, bytes.data, LS_FRAME_HEADER, NULL), LS_OK);
    cr_expect_eq(ls_channel_next(&coordinator, &got, &info, NULL), LS_ECORRUPT);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
    pair(&worker, &coordinator);
    memset(bytes.data + 8, 0xff, 4); /* a payload of 4 GiB, with a header CRC that is right */
    crc = ls_crc32c(0, bytes.data, 32);
    memcpy(bytes.data + 32, &crc, 4);
    cr_assert_eq(ls_channel_feed(&coordinator, bytes.data, LS_FRAME_HEADER, NULL), LS_OK);
    cr_expect_eq(ls_channel_next(&coordinator, &got, &info, NULL), LS_ECORRUPT);
    cr_expect_leq(coordinator.in.capacity, 4096);
    ls_buf_deinit(&bytes);
    ls_channel_deinit(&worker);
    ls_channel_deinit(&coordinator);
}

/* A proof holds for one role, one secret and one pair of nonces and versions. */
Test(auth, proves_one_thing_only)
{
    struct ls_wire_transcript t = transcript(), other = t;
    uint8_t proof[32], key[32], wrong[32] = {9};

    ls_wire_prove(secret, LS_WIRE_WORKER, &t, proof);
    cr_expect(ls_wire_verify(secret, LS_WIRE_WORKER, &t, proof));
    cr_expect(!ls_wire_verify(secret, LS_WIRE_COORDINATOR, &t, proof));
    cr_expect(!ls_wire_verify(wrong, LS_WIRE_WORKER, &t, proof));
    other.challenge.nonce[31] ^= 1;
    cr_expect(!ls_wire_verify(secret, LS_WIRE_WORKER, &other, proof));
    other = t;
    other.hello.features = 1;
    cr_expect(!ls_wire_verify(secret, LS_WIRE_WORKER, &other, proof));
    ls_wire_key(secret, LS_WIRE_WORKER, &t, key);
    cr_expect_neq(memcmp(key, proof, 32), 0);
}

/* Text from a peer can neither paint on a terminal nor forge a line; names hold nothing but name characters. */
Test(message, cleans_text)
{
    struct ls_message message = {.type = LS_MESSAGE_REFUSAL}, got;
    struct ls_buf bytes = {0};

    message.refusal.status = LS_EBUSY;
    (void)ls_str_into(message.refusal.sentence, 64, "a\n\x1b[31mb");
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_message_decode(LS_MESSAGE_REFUSAL, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_str_eq(got.refusal.sentence, "a??[31mb");
    bytes.length = 0;
    message = (struct ls_message){.type = LS_MESSAGE_JOIN};
    memset(message.join.fingerprint, 'a', 64);
    message.join.replicas = 1;
    (void)ls_str_into(message.join.host, 64, "node-1.example");
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_expect_eq(ls_message_decode(LS_MESSAGE_JOIN, bytes.data, bytes.length, &got, NULL), LS_OK);
    bytes.length = 0;
    (void)ls_str_into(message.join.host, 64, "node 1");
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_expect_eq(ls_message_decode(LS_MESSAGE_JOIN, bytes.data, bytes.length, &got, NULL), LS_ECORRUPT);
    ls_buf_deinit(&bytes);
}

/* A job's words arrive as they were; an absent text is not an empty one. */
Test(message, carries_a_job)
{
    char *words[] = {(char *)"seed=3", (char *)"run.threads=2"}, text[] = "version: 1\n\0end";
    struct ls_message message = {.type = LS_MESSAGE_JOB}, got;
    struct ls_buf bytes = {0};

    message.job = (struct ls_wire_job){.path = (char *)"/jobs/a.yaml",
                                       .text = text,
                                       .text_length = sizeof text,
                                       .overrides = words,
                                       .override_count = 2,
                                       .max_steps = 24};
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_message_decode(LS_MESSAGE_JOB, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_str_eq(got.job.path, "/jobs/a.yaml");
    cr_assert_eq(got.job.text_length, sizeof text);
    cr_expect_arr_eq(got.job.text, text, sizeof text);
    cr_assert_eq(got.job.override_count, 2);
    cr_expect_str_eq(got.job.overrides[1], "run.threads=2");
    cr_expect_eq(got.job.max_steps, 24);
    cr_expect_null(got.job.model_text);
    ls_message_deinit(&got);
    bytes.length = 0;
    message.job.text_length = 0;
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_message_decode(LS_MESSAGE_JOB, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_not_null(got.job.text);
    ls_message_deinit(&got);
    ls_buf_deinit(&bytes);
}

/* A job with a relative path, a path or word that a terminal would obey, or a negative limit is refused, and nothing
 * that was read of it stays behind. */
Test(message, refuses_a_wrong_job)
{
    char *words[] = {(char *)"seed=3", (char *)"seed=\x1b[31m3"};
    struct ls_wire_job wrong[] = {{.path = (char *)"a.yaml"},
                                  {.path = (char *)"/jobs/\na.yaml"},
                                  {.path = (char *)"/jobs/a.yaml", .max_steps = -1},
                                  {.path = (char *)"/jobs/a.yaml", .overrides = words, .override_count = 2}};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ls_message message = {.type = LS_MESSAGE_JOB, .job = wrong[i]}, got;
        struct ls_buf bytes = {0};

        cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
        cr_expect_eq(ls_message_decode(LS_MESSAGE_JOB, bytes.data, bytes.length, &got, NULL), LS_ECORRUPT, "case %zu",
                     i);
        ls_buf_deinit(&bytes);
    }
}

/* Every type has a name, a limit, and no room for a longer payload. */
Test(message, limits_every_type)
{
    static const uint8_t zeros[1 << 20];
    struct ls_message got;

    for (int type = 1; type < LS_MESSAGE_END; type++) {
        cr_expect_neq(ls_message_limit(type), 0);
        cr_expect_eq(ls_message_decode((enum ls_message_type)type, zeros, ls_message_limit(type) + 1, &got, NULL),
                     LS_ECORRUPT);
    }
    cr_expect_eq(ls_message_limit(0), 0);
    cr_expect_eq(ls_message_limit(LS_MESSAGE_END), 0);
}

/* A heartbeat's wait comes as it went, the longest one within the limit; without one all of it is 0; a wait of a newer
 * side's kind is one that has no word here, and a rank that no group has is refused. */
Test(message, tells_a_wait)
{
    struct ls_message message = {.type = LS_MESSAGE_HEARTBEAT}, got;
    struct ls_buf bytes = {0};

    message.heartbeat.step = UINT64_MAX;
    message.heartbeat.phase = LS_PHASE_REDUCING;
    message.heartbeat.wait = (struct ls_wait_report){.kind = LS_WAIT_BUCKET,
                                                     .rank = LS_WIRE_MAX_MEMBERS - 1,
                                                     .for_rank = LS_WIRE_MAX_MEMBERS - 1,
                                                     .number = UINT32_MAX,
                                                     .waited_ms = UINT32_MAX};
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_leq(bytes.length, ls_message_limit(LS_MESSAGE_HEARTBEAT));
    cr_assert_eq(ls_message_decode(LS_MESSAGE_HEARTBEAT, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_eq(memcmp(&got.heartbeat.wait, &message.heartbeat.wait, sizeof got.heartbeat.wait), 0);
    ls_buf_deinit(&bytes);

    message.heartbeat.wait.for_rank = LS_WIRE_MAX_MEMBERS;
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_expect_eq(ls_message_decode(LS_MESSAGE_HEARTBEAT, bytes.data, bytes.length, &got, NULL), LS_ECORRUPT);
    ls_buf_deinit(&bytes);

    message.heartbeat.wait = (struct ls_wait_report){.kind = (enum ls_wait_kind)77, .rank = 1, .for_rank = -1};
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_message_decode(LS_MESSAGE_HEARTBEAT, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_eq(got.heartbeat.wait.kind, LS_WAIT_OTHER);
    cr_expect_eq(got.heartbeat.wait.for_rank, -1);
    ls_buf_deinit(&bytes);

    message.heartbeat.wait = (struct ls_wait_report){.kind = LS_WAIT_NONE, .rank = 5, .waited_ms = 7};
    cr_assert_eq(ls_message_encode(&message, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_message_decode(LS_MESSAGE_HEARTBEAT, bytes.data, bytes.length, &got, NULL), LS_OK);
    cr_expect_eq(got.heartbeat.wait.rank, 0);
    cr_expect_eq(got.heartbeat.wait.waited_ms, 0);
    ls_buf_deinit(&bytes);
}
