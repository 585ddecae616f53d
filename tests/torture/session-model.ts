import type { Session } from '../../packages/vm0/src/index.js'
import type { Random } from './random.js'

/** Contents by name, of the files in /workspace. */
export type Files = ReadonlyMap<string, string>

const names = ['a', 'b', 'c', 'dir/d', 'dir/e', 'dir/deep/f']

/** A shell command, and what it makes of the files; done twice it makes the same. */
export interface Change {
  command: string
  after(files: Files): Files
}

export function randomChange(random: Random, serial: number): Change {
  const name = random.pick(names)
  const kind = random.below(10)
  if (kind < 5) {
    const content = `${serial}-${random.below(1e9)}`
    return {
      command: `mkdir -p "$(dirname ${name})" && echo ${content} > ${name}`,
      after: (files) => new Map(files).set(name, content),
    }
  }
  if (kind < 7) {
    const moved = `moved-${serial}`
    return {
      command: `if [ -e ${name} ]; then mv ${name} ${moved}; fi`,
      after: (files) => {
        const content = files.get(name)
        const others = [...files].filter(([other]) => other !== name)
        return new Map(content === undefined ? others : [...others, [moved, content]])
      },
    }
  }
  if (kind < 9)
    return {
      command: `rm -f ${name}`,
      after: (files) => new Map([...files].filter(([other]) => other !== name)),
    }
  return {
    command: 'rm -rf dir',
    after: (files) => new Map([...files].filter(([other]) => !other.startsWith('dir/'))),
  }
}

/** What must be in one session: the state that the platform has acknowledged as saved, then those that it may have besides. */
export class SessionModel {
  /** The states since the last one that was acknowledged, that one first. */
  private states: Files[] = [new Map()]
  /** States by the checkpoint that holds them. */
  readonly checkpoints = new Map<string, Files>()

  constructor(readonly session: Session) {}

  get now(): Files {
    return this.states.at(-1) as Files
  }

  /** It may have happened, and isn't saved yet. */
  changed(files: Files): void {
    this.states.push(files)
  }

  /** The state is saved, the platform said so: of `checkpoint`, where one is named. */
  acknowledged(files: Files, checkpoint?: string | null): void {
    const at = this.states.lastIndexOf(files)
    this.states = at < 0 ? [files] : this.states.slice(at)
    if (checkpoint) this.checkpoints.set(checkpoint, files)
  }

  /** Takes over what is found: what was to come after it has not happened. Throws where it is none of the states that may be there. */
  found(files: Files): void {
    const text = describe(files)
    const at = this.states.findLastIndex((state) => describe(state) === text)
    if (at < 0)
      throw new Error(`session ${this.session.id} has\n${text}\nexpected ${this.states.map(describe).join('\nor ')}`)
    this.states = this.states.slice(0, at + 1)
  }
}

export function describe(files: Files): string {
  return JSON.stringify([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

export const lookCommand = `find . -type f -printf '%P\\0' | sort -z | xargs -0 -r -I{} sh -c 'echo "$(echo {} | base64 -w0) $(base64 -w0 {})"'`

/** What `lookCommand` printed. */
export function readFiles(stdout: string): Files {
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8').trimEnd()
  const lines = stdout.split('\n').filter(Boolean)
  return new Map(lines.map((line) => line.split(' ')).map(([name = '', content = '']) => [text(name), text(content)]))
}
