/**
 * The table of every error that VM0 gives: stable code → HTTP status, exit status of the command, whether a retry may
 * help, and what to do next. `docs/errors.md` is generated from it.
 */
export const errorTable = {
  INVALID_REQUEST: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Correct the field that the message names; the shapes are in /v1/openapi.json.',
  },
  PROMPT_EMPTY: { status: 400, exit: 2, retryable: false, hint: 'Pass the task for the agent as non-empty text.' },
  REQUEST_TOO_LARGE: {
    status: 413,
    exit: 2,
    retryable: false,
    hint: 'Send less: put large inputs into the workspace instead of the prompt.',
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    exit: 2,
    retryable: false,
    hint: 'Use one of the methods that the Allow header names.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    exit: 2,
    retryable: false,
    hint: 'Send JSON with the header "Content-Type: application/json".',
  },
  UNKNOWN_FRAMEWORK: { status: 400, exit: 2, retryable: false, hint: 'List what is available with `vm0 frameworks`.' },
  UNKNOWN_TEMPLATE: { status: 404, exit: 2, retryable: false, hint: 'List what there is with `vm0 templates`.' },
  UNAUTHENTICATED: {
    status: 401,
    exit: 7,
    retryable: false,
    hint: 'Pass a valid key in VM0_API_KEY, or make one with `vm0 keys create`.',
  },
  FORBIDDEN: { status: 403, exit: 7, retryable: false, hint: 'Use a key that has the scope that the message names.' },
  NOT_FOUND: {
    status: 404,
    exit: 2,
    retryable: false,
    hint: 'Check the id with `vm0 sessions` or `vm0 runs`; a key sees its own project only.',
  },
  CHECKPOINT_NOT_FOUND: {
    status: 404,
    exit: 2,
    retryable: false,
    hint: 'Check the id with `vm0 log SESSION`; a checkpoint that is still being saved is not there yet.',
  },
  CHECKPOINT_OF_ANOTHER_SESSION: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'Begin a new session from it: `vm0 fork CHECKPOINT`.',
  },
  CONFLICT: { status: 409, exit: 2, retryable: false, hint: 'This id is in use with another body: take a new id.' },
  SESSION_BUSY: {
    status: 409,
    exit: 2,
    retryable: true,
    hint: 'Wait for the running run, cancel it, or leave out `ifBusy: "refuse"` to queue behind it.',
  },
  SESSION_DELETED: { status: 410, exit: 2, retryable: false, hint: 'Start a new session.' },
  RUN_ENDED: { status: 409, exit: 2, retryable: false, hint: 'Start a new run in the same session.' },
  QUESTION_NOT_OPEN: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'It was answered before, or the agent asks it no more: look at the end of `vm0 logs`.',
  },
  RATE_LIMITED: {
    status: 429,
    exit: 7,
    retryable: true,
    hint: 'Send fewer requests, or wait as long as Retry-After says.',
  },
  QUEUE_FULL: {
    status: 429,
    exit: 7,
    retryable: true,
    hint: 'Wait until queued runs of the project have started, or cancel some of them.',
  },
  QUOTA_EXCEEDED: {
    status: 403,
    exit: 2,
    retryable: false,
    hint: 'Remove sessions that hold much: `vm0 projects show` lists them, `vm0 rm SESSION` removes one. Or have the quota raised: `vm0 projects set PROJECT --quota SIZE`.',
  },
  INTERNAL: {
    status: 500,
    exit: 1,
    retryable: true,
    hint: 'Try again; if it stays, send the requestId and the server log to the operator.',
  },
  NOT_READY: {
    status: 503,
    exit: 7,
    retryable: true,
    hint: 'The server is starting or stopping: try again in a moment.',
  },
  SERVER_UNREACHABLE: { status: 503, exit: 7, retryable: true, hint: 'Start it with `vm0 up`, or set VM0_API_URL.' },
  PORT_TAKEN: { status: 500, exit: 1, retryable: false, hint: 'Choose another port with `vm0 up --port N`.' },
  DATA_IN_USE: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'Stop the other `vm0 up`, or choose another folder with `--data`.',
  },
  DATABASE_IN_USE: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'One database serves one data folder and one `vm0 up`: stop the other one, or give this one a database of its own.',
  },
  DATABASE_UNUSABLE: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'Check DATABASE_URL: expected a PostgreSQL 15 or newer that is reachable and whose user may make tables.',
  },
  PLATFORM_MISSING: { status: 500, exit: 1, retryable: false, hint: 'Install it beside vm0: `npm i @vm0/platform`.' },
  ROOT_REQUIRED: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'Run `vm0 up` as root: it makes namespaces, mounts and cgroups.',
  },
  RUNTIME_MISSING: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'Install the package that the message names, or run `vm0 doctor`.',
  },
  TEMPLATE_BUILD_FAILED: {
    status: 500,
    exit: 1,
    retryable: true,
    hint: 'Check that the Debian registry is reachable and the disk has 2 GiB free.',
  },
  DOCKERFILE_INVALID: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Correct the line that the message names; docs/templates.md lists what is served.',
  },
  TEMPLATE_STEP_FAILED: {
    status: 422,
    exit: 3,
    retryable: false,
    hint: 'Correct the step that the message names, and build again: nothing of this build is kept.',
  },
  TEMPLATE_IN_USE: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'Move its sessions with `vm0 sessions upgrade`, or delete them; promote another version first.',
  },
  AGENT_RELEASE_MISSING: {
    status: 500,
    exit: 1,
    retryable: false,
    hint: 'Install it with `vm0 frameworks install claude-code@VERSION`.',
  },
  AGENT_RELEASE_CORRUPT: {
    status: 500,
    exit: 1,
    retryable: true,
    hint: 'The download does not match its registry checksum: install it again.',
  },
  SANDBOX_START_FAILED: { status: 500, exit: 6, retryable: true, hint: 'See `vm0 doctor`, then try again.' },
  SANDBOX_DISK_FULL: {
    status: 507,
    exit: 6,
    retryable: false,
    hint: 'Raise resources.diskMiB or remove files in the session.',
  },
  HOST_DISK_FULL: {
    status: 507,
    exit: 6,
    retryable: true,
    hint: 'Free space on the file system of the data folder; what was saved is kept.',
  },
  AGENT_START_FAILED: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: "Read the agent's last words in details.stderr; `vm0 doctor` checks the release.",
  },
  AGENT_CRASHED: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: 'The session is as it was after the last checkpoint: run again.',
  },
  AGENT_HUNG: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: '`vm0 why` says what the agent and its commands waited for.',
  },
  OUT_OF_MEMORY: {
    status: 500,
    exit: 4,
    retryable: false,
    hint: 'Raise resources.memoryMiB, or have the agent work in smaller pieces.',
  },
  MODEL_UNAUTHORIZED: {
    status: 502,
    exit: 3,
    retryable: false,
    hint: 'Set a valid ANTHROPIC_API_KEY in the environment of `vm0 up`.',
  },
  MODEL_RATE_LIMITED: {
    status: 502,
    exit: 3,
    retryable: true,
    hint: 'Wait, or raise the limits with the model provider.',
  },
  OUTPUT_INVALID: {
    status: 500,
    exit: 3,
    retryable: true,
    hint: 'Make the schema easier to fill, or say in the prompt what belongs into each field.',
  },
  MODEL_FAILED: {
    status: 502,
    exit: 3,
    retryable: true,
    hint: 'The model endpoint ended in an error; see details for what it answered.',
  },
  AGENT_FAILED: {
    status: 502,
    exit: 3,
    retryable: false,
    hint: 'Read the end of `vm0 logs` for what the agent reported.',
  },
  TIMED_OUT: { status: 504, exit: 3, retryable: true, hint: 'Raise limits.timeoutMs.' },
  CANCELLED: { status: 409, exit: 5, retryable: false, hint: 'Run again to go on.' },
  HOST_LOST: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: 'The session is as it was after the last checkpoint: run again.',
  },
  CHECKPOINT_FAILED: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: 'Free disk space on the host; the state before this run is kept.',
  },
  CHECKPOINT_CORRUPT: {
    status: 500,
    exit: 6,
    retryable: false,
    hint: 'A stored layer does not match its digest: restore it from a backup of the store.',
  },
  ARCHIVE_INVALID: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Give a file that `vm0 export` made; what the message names is not taken in.',
  },
  ARCHIVE_CORRUPT: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'The file was damaged or cut off since it was exported: copy or export it again.',
  },
  ARCHIVE_TOO_LARGE: {
    status: 413,
    exit: 2,
    retryable: false,
    hint: 'Make the session smaller before it is exported, or free space on the file system of the data folder.',
  },
  VERSION_UNSUPPORTED: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'It was made by a newer VM0: update this one.',
  },
  ENCRYPTION_KEY_MISSING: {
    status: 500,
    exit: 6,
    retryable: false,
    hint: 'Put the key that the message names back behind the others in keys/master.json of the data folder, and start again.',
  },
  ENCRYPTION_KEY_IN_USE: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'Seal everything under the newest key first: `vm0 encryption reseal`; close sessions whose sandboxes are from before.',
  },
  STORE_UNREACHABLE: {
    status: 503,
    exit: 6,
    retryable: true,
    hint: 'Check the address and the credentials of the object store; what was saved in it is not touched.',
  },
  WORKSPACE_INVALID: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Remove what the message names from the folder, or list it in .gitignore.',
  },
  EXEC_FAILED: {
    status: 500,
    exit: 6,
    retryable: true,
    hint: 'The sandbox could not run the command; see the message.',
  },
  FILE_NOT_FOUND: { status: 404, exit: 2, retryable: false, hint: 'List the folder with `session.files.list`.' },
  FILE_INVALID: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Give an absolute path of a regular file inside the sandbox.',
  },
  FILE_CHANGED: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'Pass --force to overwrite your changes, or -o with another folder.',
  },
} as const satisfies Record<string, ErrorEntry>

export interface ErrorEntry {
  /** HTTP status of the problem document. */
  status: number
  /** Exit status of the `vm0` command. */
  exit: number
  retryable: boolean
  hint: string
}

export type ErrorCode = keyof typeof errorTable
