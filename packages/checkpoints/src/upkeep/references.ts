/** What the metadata says is in use. Each call gives what holds at that time: a row that is committed before it is in it. */
export interface References {
  /** Ids of every checkpoint that has a row: heads and all that can still be gone back to. */
  checkpoints(): AsyncIterable<string>
  /** Templates that have a name, or that a session without a checkpoint begins with. */
  templates(): AsyncIterable<{ projectId: string; digest: string }>
  /** Names of other objects that are in use, such as uploads. */
  objects(): AsyncIterable<string>
}
