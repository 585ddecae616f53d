import { z } from 'zod'
import type { Answer, ExecOutput, ExecRequestParsed, FileEntry, LostProcesses, Timings } from './runs.js'

/** Names a run inside its project. */
export interface RunRef {
  projectId: string
  sessionId: string
  runId: string
}
export interface SessionRef {
  projectId: string
  sessionId: string
}

/** What a runner has at this moment. */
export const runnerStatusSchema = z.object({
  id: z.string(),
  /** Sessions that hold a sandbox. */
  sessions: z.int(),
  /** Those of them that are idle and frozen. */
  frozen: z.int(),
  /** Those of the frozen ones whose memory was given back to the host. */
  reclaimed: z.int(),
  /** What was given back since the platform began. */
  reclaimedBytes: z.number(),
  /** Sandboxes that wait warm for a new session. */
  warm: z.int(),
  /** Sandboxes without an agent, made ahead for whoever can't have a warm one. */
  prepared: z.int(),
  maxSandboxes: z.int(),
})
export type RunnerStatus = z.infer<typeof runnerStatusSchema>

/** A session's sandbox as it is at this moment. */
export const liveSandboxSchema = z.object({
  sandboxId: z.string(),
  sessionId: z.string(),
  /** Null while no run is at work in it. */
  runId: z.string().nullable(),
  /** `waiting`: for a person; `idle`, `frozen`, `reclaimed` (frozen, its memory given back): for the session's next run. */
  state: z.enum(['working', 'waiting', 'idle', 'frozen', 'reclaimed']),
  /** The tool call that is at work, or `model`; null where nothing is. */
  doing: z.string().nullable(),
  /** How long it does that. */
  doingMs: z.number().nullable(),
  memoryBytes: z.number(),
  memoryLimitBytes: z.number(),
  /** Of one CPU, since it was last looked at. */
  cpuShare: z.number(),
  processes: z.int(),
  /** Over its network link since it began, in bytes; to the gateway too. */
  sentBytes: z.number(),
  receivedBytes: z.number(),
})
export type LiveSandbox = z.infer<typeof liveSandboxSchema>

/** A session as it was when a runner took it. */
export interface ClaimedSession {
  template: string
  head: string | null
  agentSessionId: string | null
  resources: Record<string, number>
  workspaceUpload: string | null
  epoch: number
  lostProcesses: LostProcesses | null
}

/** A run that a runner has taken: its row is `starting`, under the session's epoch. */
export interface ClaimedRun {
  epoch: number
  /** What was asked for, sealed. */
  spec: Uint8Array
  framework: string
  /** Milliseconds since 1970, by this host's clock. */
  createdAtMs: number
  /** What is known of its way until here. */
  timings: Partial<Timings>
  /** From 1: how often it was taken up. */
  attempts: number
  session: ClaimedSession
}

/**
 * What a server asks of a runner. In `vm0 up` both live in one process and this is a call; on a fleet it crosses the bus
 * (start, cancel, input, close) and the tunnel (exec and files).
 */
export interface RunnerPort {
  status(): Promise<RunnerStatus>
  /** The project's sandboxes on this host, and what each does. */
  sandboxes(projectId: string): Promise<LiveSandbox[]>
  /** Takes the run (the row is `queued`) or says that there is no room; returns before the agent has finished. */
  start(run: RunRef): Promise<'accepted' | 'full'>
  /**
   * Takes a run that is being made, where there is room for it at once and nothing is at work in its session: `accept` writes
   * its row as one that `runnerId` has claimed. False, with nothing written, where that is not so or `accept` has claimed nothing.
   */
  begin(run: RunRef, accept: (runnerId: string) => Promise<ClaimedRun | undefined>): Promise<boolean>
  /** Ends the run as `cancelled`; false when this runner does not have it. */
  cancel(run: RunRef): Promise<boolean>
  /** Hands text to the agent in the middle of a run. */
  input(run: RunRef, text: string): Promise<void>
  /** A person's decision on what the agent asks. Throws QUESTION_NOT_OPEN or RUN_ENDED. */
  answer(run: RunRef, answer: Answer): Promise<void>
  exec(session: SessionRef, request: ExecRequestParsed, signal: AbortSignal): AsyncIterable<ExecOutput>
  readFile(session: SessionRef, path: string): Promise<AsyncIterable<Uint8Array>>
  writeFile(session: SessionRef, path: string, content: AsyncIterable<Uint8Array>): Promise<void>
  listFiles(session: SessionRef, path: string): Promise<FileEntry[]>
  statFile(session: SessionRef, path: string): Promise<FileEntry>
  removeFile(session: SessionRef, path: string): Promise<void>
  /** A tar of what is at `path`, which may be a link: of a folder what is in it (its first entry is `./`), else of that one file. */
  readTree(session: SessionRef, path: string): Promise<AsyncIterable<Uint8Array>>
  /** Unpacks a tar into the folder `path`, which is made when it isn't there. */
  writeTree(session: SessionRef, path: string, content: AsyncIterable<Uint8Array>): Promise<void>
  /** Brings the session's sandbox and agent back, so that its next prompt finds them waiting. */
  prewarm(session: SessionRef): Promise<void>
  /** Saves the session, under a name where one is given, and keeps its sandbox. Throws SESSION_BUSY while it is in use. */
  save(session: SessionRef, name?: string): Promise<void>
  /** What of a folder differs from what the request tells (see `folder-sync.ts`), as lines of JSON. */
  compareFolder(session: SessionRef, path: string, request: AsyncIterable<Uint8Array>): AsyncIterable<string>
  /** A tar of the entries of a folder that the request names, each followed by a NUL; those that are not there are left out. */
  readEntries(session: SessionRef, path: string, names: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>>
  /** Removes the entries of a folder that the request names in the same way; folders that are not empty stay. */
  removeEntries(session: SessionRef, path: string, names: AsyncIterable<Uint8Array>): Promise<void>
  /** The pieces of a file, as lines of JSON (see `file-patch.ts`). */
  listChunks(session: SessionRef, path: string, request: AsyncIterable<Uint8Array>): AsyncIterable<string>
  /** The parts of a file that the request names, one after the other. */
  readRanges(session: SessionRef, path: string, request: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>>
  /** Makes a file of parts of the one that is there and of bytes that the request brings; FILE_CHANGED where that is not what it announces. */
  patchFile(session: SessionRef, path: string, request: AsyncIterable<Uint8Array>): Promise<void>
  /** Saves the session and frees its sandbox. */
  close(session: SessionRef): Promise<void>
  /** Frees the sandbox without saving. */
  discard(session: SessionRef): Promise<void>
}
