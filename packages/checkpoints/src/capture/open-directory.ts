import { closeFd, openDirectoryAt } from './syscalls.js'

/** A directory that is opened when its descriptor is first asked for, one step below its parent: no path is resolved. */
export class OpenDirectory {
  private opened: number | undefined

  private constructor(
    private readonly parent: OpenDirectory | undefined,
    private readonly name: string,
  ) {}

  static root(fd: number): OpenDirectory {
    const root = new OpenDirectory(undefined, '')
    root.opened = fd
    return root
  }

  child(name: string): OpenDirectory {
    return new OpenDirectory(this, name)
  }

  get fd(): number {
    this.opened ??= openDirectoryAt((this.parent as OpenDirectory).fd, this.name)
    return this.opened
  }

  /** From the root, with a slash at its end; the root's is empty. */
  get path(): string {
    return this.parent ? `${this.parent.path}${this.name}/` : ''
  }

  close(): void {
    if (this.opened !== undefined) closeFd(this.opened)
    this.opened = undefined
  }
}
