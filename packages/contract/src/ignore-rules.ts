import type { FolderRules } from './folder-sync.js'

/** Files whose patterns leave things out of what is sent and fetched, the stronger one last. */
export const ignoreFiles = ['.gitignore', '.vm0ignore'] as const

/** Patterns of one file, compiled by whoever knows how. */
export interface Matcher {
  /** Takes a path below the file's folder; one of a folder ends in a slash. */
  test(path: string): { ignored: boolean; unignored: boolean }
}

/** What the ignore files of a tree leave out: inner ones and later lines decide, as git has it. */
export class IgnoreRules {
  private readonly byFolder = new Map<string, RuleFile[]>()

  constructor(private readonly compile: (text: string) => Matcher) {}

  add({ folder, text }: FolderRules): void {
    const files = this.byFolder.get(folder)
    const file = new RuleFile(text, this.compile)
    if (files) files.push(file)
    else this.byFolder.set(folder, [file])
  }

  /** Whether an entry is left out, given that the folder that it is in is not. */
  excludes(path: string, isFolder: boolean): boolean {
    if (this.byFolder.size === 0) return false
    let excluded = false
    for (let end = 0; end >= 0; end = path.indexOf('/', end + 1)) {
      const files = this.byFolder.get(path.slice(0, end))
      if (!files) continue
      const below = `${end === 0 ? path : path.slice(end + 1)}${isFolder ? '/' : ''}`
      for (const file of files) excluded = file.verdict(below) ?? excluded
    }
    return excluded
  }
}

class RuleFile {
  private readonly whole: Matcher
  private lines: Matcher[] | undefined
  private folder = ''
  private excludesFolder = false

  constructor(
    private readonly text: string,
    private readonly compile: (text: string) => Matcher,
  ) {
    this.whole = compile(text)
  }

  /** Whether it leaves a path out (true) or in (false); undefined when it says nothing of it. */
  verdict(path: string): boolean | undefined {
    const folder = path.slice(0, path.lastIndexOf('/', path.length - 2) + 1)
    if (folder !== this.folder) {
      this.folder = folder
      this.excludesFolder = folder !== '' && this.whole.test(folder).ignored
    }
    return this.excludesFolder ? this.verdictByLine(path, folder) : verdictOf(this.whole.test(path))
  }

  /** The path's folder is left out by this file and was let in by another: a line counts only for what it names itself. */
  private verdictByLine(path: string, folder: string): boolean | undefined {
    this.lines ??= this.text.split('\n').filter(Boolean).map(this.compile)
    let verdict: boolean | undefined
    for (const line of this.lines) {
      const own = verdictOf(line.test(path))
      if (own !== undefined && verdictOf(line.test(folder)) === undefined) verdict = own
    }
    return verdict
  }
}

function verdictOf({ ignored, unignored }: { ignored: boolean; unignored: boolean }): boolean | undefined {
  if (unignored) return false
  return ignored ? true : undefined
}
