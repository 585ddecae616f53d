import type { EventBody, RunLine, Vm0Event } from '@vm0/contract'

/** Encrypts what is private at rest. The result carries the key's id, so that keys can be rotated. */
export interface SecretsPort {
  seal(plain: string): Buffer
  open(sealed: Uint8Array): string
  /** Keys of 32 bytes for one purpose, derived from the master keys: the same again at any time. */
  keysFor(purpose: string): DerivedKeys
}

export interface DerivedKeys {
  /** For what is written now; `id` names the master key. */
  current: { id: string; key: Buffer }
  /** For what was written under an earlier master key, while that is still kept. */
  find(id: string): Buffer | undefined
}

/** Immutable objects by name (`layers/sha256-…`, `uploads/<project>/sha256-…`). */
export interface BlobPort {
  /** Durable on return; may take the file over. An object that exists already stays as it is, and counts as written now. */
  putFile(name: string, path: string): Promise<void>
  put(name: string, content: Uint8Array): Promise<void>
  /** The same as `putFile`, but what is there is replaced: readers get the one or the other, whole. */
  replace(name: string, path: string): Promise<void>
  get(name: string): Promise<Uint8Array>
  /** A local path of the object, or undefined where the object doesn't exist. */
  localPath(name: string): Promise<string | undefined>
  has(name: string): Promise<boolean>
  /** Whether it exists; if so it counts as written now, and so is safe for a while from who collects what is old. */
  renew(name: string): Promise<boolean>
  remove(name: string): Promise<void>
  /** Removes it unless it was written, or renewed, at that time or later; tells whether it did. */
  removeOld(name: string, writtenBeforeMs: number): Promise<boolean>
  /** The object's bytes as they come; rejects or throws where it doesn't exist. */
  read(name: string): Promise<AsyncIterable<Uint8Array>>
  /** Every object whose name begins with a folder (`layers/`), in no order. */
  list(folder: string): AsyncIterable<StoredObject>
}

export interface StoredObject {
  name: string
  sizeBytes: number
  /** When it was written, or written again, in milliseconds since 1970: by the store's clock. */
  writtenMs: number
}

export interface EventScope {
  projectId: string
  sessionId: string
  runId: string
}

/** The log of one run's events while its owner writes it. Cursors are `epoch.seq`, seq from 1. */
export interface EventWriter {
  /** `origin` says what the event was made of; it stays in the log, for whoever goes on with the run. */
  append(body: EventBody, timeMs?: number, origin?: string): Vm0Event
  /** What was appended is on disk when this returns. */
  flush(): Promise<void>
  close(): Promise<void>
}

export interface ReadOptions {
  /** Only what comes after this cursor. */
  after?: string | undefined
  /** Goes on with what is written from now on, until the run's last event. */
  follow: boolean
  signal?: AbortSignal
  /**
   * The event that ends the run, where it has ended and the log doesn't say so: the row counts, and a crash may have come
   * between the row and the log. Asked for at the log's end while nobody of this process writes it.
   */
  ending?: () => Promise<Vm0Event | undefined>
}

export interface EventLog {
  /** Starts the log of a run that has none: at once, what can't be written is told by `flush`. */
  begin(scope: EventScope, epoch: number): EventWriter
  /** Goes on with the log of a run, also under a higher epoch. */
  open(scope: EventScope, epoch: number): Promise<EventWriter>
  /** Events in order up to `run.finished`. */
  read(scope: EventScope, options: ReadOptions): AsyncIterable<Vm0Event>
  /** What the log holds, with the origins that its writer gave. */
  stored(scope: EventScope): AsyncIterable<{ event: Vm0Event; origin: string | undefined }>
  /** Readers that wait look again: the run ended without a word in the log. */
  wake(scope: EventScope): void
  /** Removes the logs of all its runs. */
  removeSession(session: Omit<EventScope, 'runId'>): Promise<void>
}

/** What the platform says of each run, beside its events. */
export interface RunLines {
  /** Returns at once; what can't be kept is left out. */
  append(scope: EventScope, line: RunLine): void
  /**
   * Lines behind the number `after`, each with its number from 1. With `ended` it goes on with what comes, until that aborts
   * and all that was there then is read.
   */
  read(
    scope: EventScope,
    options: { after: number; ended?: AbortSignal | undefined },
  ): AsyncGenerator<{ number: number; line: RunLine }>
}
