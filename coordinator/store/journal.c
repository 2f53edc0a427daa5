/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's file: a magic of 8 bytes, then records. Opened once, appended to, synced in groups. */
#include "coordinator/store/journal.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const uint8_t magic[8] = {'L', 'S', 'J', 'R', 'N', 'L', '0', '1'};

struct ls_journal {
    int fd;
    bool failed;
    char *path;
    struct ls_buf waiting;
};

static void apply(const struct ls_record *record, struct ls_journal_state *state)
{
    switch (record->kind) {
    case LS_RECORD_JOB:
        state->committed = 0;
        state->checkpoint_step = 0;
        state->ended = false;
        (void)ls_str_into(state->fingerprint, sizeof state->fingerprint, record->fingerprint);
        break;
    case LS_RECORD_GENERATION:
        if (record->generation > state->last_generation)
            state->last_generation = record->generation;
        break;
    case LS_RECORD_STEPS:
        if (record->generation == state->last_generation && record->last > state->committed)
            state->committed = record->last;
        break;
    case LS_RECORD_CHECKPOINT:
        if (record->generation == state->last_generation && record->last > state->checkpoint_step)
            state->checkpoint_step = record->last;
        break;
    case LS_RECORD_END:
        state->ended = true;
        break;
    }
    state->records++;
}

enum ls_status ls_journal_replay(const uint8_t *data, size_t length, struct ls_journal_state *state)
{
    struct ls_record_reader *reader;
    struct ls_record record;

    memset(state, 0, sizeof *state);
    if (length < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
        return LS_OK;
    reader = ls_alloc_zeroed(1, sizeof *reader);
    if (reader == NULL)
        return LS_ENOMEM;
    reader->bytes = ls_reader_over(data, length);
    reader->bytes.position = sizeof magic;
    while (ls_record_next(reader, &record) == LS_OK)
        apply(&record, state);
    state->good_bytes = reader->bytes.position;
    ls_free(reader);
    return LS_OK;
}

static enum ls_status begin_file(struct ls_journal *journal, struct ls_error *err)
{
    char *directory = ls_path_directory(journal->path);
    enum ls_status status = LS_ENOMEM;

    if (directory == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to open %s", journal->path);
    status = ls_fs_append_sync(journal->fd, magic, sizeof magic, journal->path, err);
    if (status == LS_OK)
        status = ls_fs_sync_directory(directory, err);
    ls_free(directory);
    return status;
}

/* Reads what is there, cuts what is torn, begins a new file. */
static enum ls_status prepare(struct ls_journal *journal, struct ls_journal_state *state, struct ls_error *err)
{
    struct ls_buf old = {0};
    enum ls_status status = ls_fs_read(journal->path, LS_JOURNAL_MAX_BYTES, &old, err);
    bool begun = false;

    if (status != LS_OK)
        goto free_old;
    if (ls_journal_replay(old.data, old.length, state) != LS_OK) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", journal->path);
        goto free_old;
    }
    begun = state->good_bytes >= sizeof magic;
    /* A file cut inside the magic is one whose first write was torn; anything else there is not ours to cut. */
    if (!begun && old.length > 0 && memcmp(old.data, magic, old.length < 8 ? old.length : 8) != 0) {
        status = ls_error_set(err, LS_ECORRUPT, "%s is not a journal of lockstep; move it away", journal->path);
        goto free_old;
    }
    if (old.length != state->good_bytes && ftruncate(journal->fd, (off_t)state->good_bytes) != 0)
        status = ls_error_set(err, LS_EIO, "cannot cut the torn end of %s: %s", journal->path, strerror(errno));
    if (status == LS_OK && !begun)
        status = begin_file(journal, err);
free_old:
    ls_buf_deinit(&old);
    return status;
}

static enum ls_status open_file(struct ls_journal *journal, struct ls_error *err)
{
    journal->fd = open(journal->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal->fd < 0)
        return ls_error_set(err, LS_EIO, "cannot open the journal %s: %s", journal->path, strerror(errno));
    if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0)
        return ls_error_set(err, LS_EBUSY, "the journal %s is in use by another coordinator", journal->path);
    return LS_OK;
}

/* Keeps what a later run must know: which generations are used up, and how far the job had come. */
static enum ls_status carry_over(struct ls_journal *journal, const struct ls_journal_state *state, struct ls_error *err)
{
    struct ls_record job = {.kind = LS_RECORD_JOB};
    struct ls_record generation = {.kind = LS_RECORD_GENERATION, .generation = state->last_generation};
    struct ls_record steps = {
        .kind = LS_RECORD_STEPS, .generation = state->last_generation, .first = 1, .last = state->committed};
    enum ls_status status;

    (void)ls_str_into(job.fingerprint, sizeof job.fingerprint, state->fingerprint);
    status = ls_journal_append(journal, &job, err);
    if (status == LS_OK)
        status = ls_journal_append(journal, &generation, err);
    if (status == LS_OK && state->committed > 0)
        status = ls_journal_append(journal, &steps, err);
    return status == LS_OK ? ls_journal_sync(journal, err) : status;
}

/* The long file becomes PATH.1 in place of an older one, and a new one begins. */
static enum ls_status rotate(struct ls_journal *journal, const struct ls_journal_state *state, struct ls_error *err)
{
    char *aside = ls_str_format("%s.1", journal->path);
    enum ls_status status;

    if (aside == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to open %s", journal->path);
    status = ls_fs_rename(journal->path, aside, err);
    ls_free(aside);
    if (status != LS_OK)
        return status;
    (void)close(journal->fd);
    status = open_file(journal, err);
    if (status == LS_OK)
        status = begin_file(journal, err);
    return status == LS_OK ? carry_over(journal, state, err) : status;
}

enum ls_status ls_journal_open(const char *path, struct ls_journal **journal, struct ls_journal_state *state,
                               struct ls_error *err)
{
    struct ls_journal *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL || (made->path = ls_str_copy(path)) == NULL) {
        ls_free(made);
        return ls_error_set(err, LS_ENOMEM, "not enough memory to open %s", path);
    }
    memset(state, 0, sizeof *state);
    status = open_file(made, err);
    if (status == LS_OK)
        status = prepare(made, state, err);
    if (status == LS_OK && state->good_bytes > LS_JOURNAL_ROTATE_BYTES)
        status = rotate(made, state, err);
    if (status != LS_OK) {
        ls_journal_close(made);
        return status;
    }
    *journal = made;
    return LS_OK;
}

enum ls_status ls_journal_append(struct ls_journal *journal, const struct ls_record *record, struct ls_error *err)
{
    enum ls_status status = ls_record_encode(record, &journal->waiting);

    if (status != LS_OK)
        return ls_error_set(err, status, "cannot add a record to %s: %s", journal->path, ls_status_sentence(status));
    return LS_OK;
}

enum ls_status ls_journal_sync(struct ls_journal *journal, struct ls_error *err)
{
    enum ls_status status;

    if (journal->failed)
        return ls_error_set(err, LS_EIO, "the journal %s failed before and is not written any more", journal->path);
    if (journal->waiting.length == 0)
        return LS_OK;
    status = ls_fs_append_sync(journal->fd, journal->waiting.data, journal->waiting.length, journal->path, err);
    journal->failed = status != LS_OK;
    journal->waiting.length = 0;
    return status;
}

void ls_journal_close(struct ls_journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->fd >= 0) {
        if (!journal->failed)
            (void)ls_journal_sync(journal, NULL);
        (void)close(journal->fd);
    }
    ls_buf_deinit(&journal->waiting);
    ls_free(journal->path);
    ls_free(journal);
}
