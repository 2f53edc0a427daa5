/* SPDX-License-Identifier: Apache-2.0 */
/* The journal from the shell's side: opened with the job, written as actions come, trusted until it fails once. */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

enum ls_status lsi_ledger_open(struct ls_server *server, uint64_t *last_generation, struct ls_error *err)
{
    struct ls_record record = {.kind = LS_RECORD_JOB};
    const char *directory = server->options.directory;
    struct ls_journal_state state;
    enum ls_status status;
    char *path;

    /* Without a directory the journal ends with the job: it would tell a later run nothing. */
    if (directory == NULL)
        return LS_OK;
    status = ls_fs_mkdirs(directory, err);
    if (status != LS_OK)
        return status;
    path = ls_path_join(directory, "journal");
    if (path == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the journal");
    status = ls_journal_open(path, &server->journal, &state, err);
    ls_free(path);
    if (status != LS_OK)
        return status;
    *last_generation = state.last_generation;
    (void)ls_str_into(record.fingerprint, sizeof record.fingerprint, server->options.fingerprint);
    status = ls_journal_append(server->journal, &record, err);
    return status == LS_OK ? ls_journal_sync(server->journal, err) : status;
}

/* The job ends: a coordinator that cannot keep its word gives none. */
static void break_ledger(struct ls_server *server, const struct ls_error *err)
{
    server->ledger_broken = true;
    (void)ls_str_into(server->ledger_error, sizeof server->ledger_error, err->message);
}

void lsi_ledger_add(struct ls_server *server, const struct ls_record *record, bool durable)
{
    struct ls_error err = LS_ERROR_INIT;

    if (server->journal == NULL || server->ledger_broken)
        return;
    if (ls_journal_append(server->journal, record, &err) != LS_OK)
        break_ledger(server, &err);
    else if (durable)
        lsi_ledger_sync(server);
}

void lsi_ledger_sync(struct ls_server *server)
{
    struct ls_error err = LS_ERROR_INIT;

    if (server->journal != NULL && !server->ledger_broken && ls_journal_sync(server->journal, &err) != LS_OK)
        break_ledger(server, &err);
}
