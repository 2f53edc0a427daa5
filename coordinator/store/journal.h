/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's journal: an append-only file of what was decided (generations and their members, committed step
 * ranges, checkpoints). A record counts when it is whole; a torn tail is cut off when the file is opened again.
 * Format: docs/formats/journal.md.
 */
#ifndef LOCKSTEP_COORDINATOR_STORE_JOURNAL_H
#define LOCKSTEP_COORDINATOR_STORE_JOURNAL_H

#include "core/base/buf.h"
#include "core/base/host.h"
#include "core/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define LS_JOURNAL_MAX_RECORD 65536
#define LS_JOURNAL_MAX_BYTES (UINT64_C(1) << 30)
#define LS_JOURNAL_ROTATE_BYTES (UINT64_C(16) << 20) /* a longer one becomes PATH.1 when it is opened again */
#define LS_JOURNAL_MAX_MEMBERS 256

enum ls_record_kind {
    LS_RECORD_JOB = 1,        /* a run of a job begins */
    LS_RECORD_GENERATION = 2, /* with its members, before anybody may work in it */
    LS_RECORD_STEPS = 3,      /* first .. last are committed */
    LS_RECORD_CHECKPOINT = 4,
    LS_RECORD_END = 5
};

struct ls_record_member {
    uint64_t worker;
    uint32_t incarnation;
    uint32_t replica;
    char host[LS_HOST_NAME_TEXT];
};

/* One record; which fields count depends on the kind. */
struct ls_record {
    enum ls_record_kind kind;
    char fingerprint[65]; /* JOB */
    uint64_t generation;  /* GENERATION, STEPS, CHECKPOINT */
    char provider[16];    /* GENERATION */
    uint32_t member_count;
    const struct ls_record_member *members; /* borrowed: the caller's, or the reader's until the next record */
    uint64_t first, last, epoch, digest;    /* STEPS; CHECKPOINT: last is its step */
    const char *text;                       /* CHECKPOINT: path; END: sentence; borrowed */
    int32_t status;                         /* END */
};

/* Appends the bytes of a record. LS_EINVAL where it is too long. */
enum ls_status ls_record_encode(const struct ls_record *record, struct ls_buf *out);

/* Reads records one after another from bytes in memory. */
struct ls_record_reader {
    struct ls_reader bytes;
    struct ls_record_member members[LS_JOURNAL_MAX_MEMBERS];
    char text[4096];
};

/* LS_OK; LS_EAGAIN: the bytes end here, or in the middle of a record (a torn tail: bytes.position is where it begins);
 * LS_ECORRUPT: a whole record is damaged. */
enum ls_status ls_record_next(struct ls_record_reader *reader, struct ls_record *record);

/* What a journal says, record by record. */
struct ls_journal_state {
    uint64_t last_generation;
    uint64_t committed;       /* newest committed step of the newest job */
    uint64_t checkpoint_step; /* newest checkpoint of the newest job */
    uint64_t records;
    uint64_t good_bytes; /* up to the first torn or damaged record */
    char fingerprint[65];
    bool ended;
};

/* Replays the bytes of a whole file into *state. Reads to the end or to the first bad record. LS_ENOMEM. */
enum ls_status ls_journal_replay(const uint8_t *data, size_t length, struct ls_journal_state *state);

struct ls_journal;

/* Opens or creates; replays what is there into *state and cuts a torn tail. LS_ECORRUPT: it is not a journal;
 * LS_EBUSY: another coordinator has it open.
 * Returned; ends with ls_journal_close. */
enum ls_status ls_journal_open(const char *path, struct ls_journal **journal, struct ls_journal_state *state,
                               struct ls_error *err);
/* Adds a record to those waiting. Nothing is durable before ls_journal_sync. */
enum ls_status ls_journal_append(struct ls_journal *journal, const struct ls_record *record, struct ls_error *err);
/* Writes and syncs what waits, together. After a failure the journal stays failed: a second sync would lie. */
enum ls_status ls_journal_sync(struct ls_journal *journal, struct ls_error *err);
/* Syncs what it can and closes. Accepts NULL. */
void ls_journal_close(struct ls_journal *journal);

#endif
