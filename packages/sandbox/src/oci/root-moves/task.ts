/** Gives the processes of a sandbox another root. */
export interface RootMove {
  /** The sandbox's first process, by the host's ids. */
  pid: number
  /** A mount of the host: what the sandbox is to have in place of its root. */
  root: string
  /** Who owns, by the host's ids, the files and folders that are made in it to mount on. */
  owner: number
  /** What is mounted in the sandbox by then and goes with it, as its processes see it: `/proc`, `/etc/resolv.conf`. */
  mounts: readonly string[]
}

export interface Request {
  id: number
  move: RootMove
}

export interface Outcome {
  id: number
  error?: string
}
