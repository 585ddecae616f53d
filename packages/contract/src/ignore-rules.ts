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
  private readonly byFolder = new Map<string, Matcher[]>()

  constructor(private readonly compile: (text: string) => Matcher) {}

  add({ folder, text }: FolderRules): void {
    const matchers = this.byFolder.get(folder)
    if (matchers) matchers.push(this.compile(text))
    else this.byFolder.set(folder, [this.compile(text)])
  }

  /** Whether an entry is left out, given that the folder that it is in is not. */
  excludes(path: string, isFolder: boolean): boolean {
    if (this.byFolder.size === 0) return false
    let excluded = false
    for (let end = 0; end >= 0; end = path.indexOf('/', end + 1)) {
      const matchers = this.byFolder.get(path.slice(0, end))
      if (!matchers) continue
      const below = `${end === 0 ? path : path.slice(end + 1)}${isFolder ? '/' : ''}`
      for (const matcher of matchers) {
        const { ignored, unignored } = matcher.test(below)
        if (ignored) excluded = true
        if (unignored) excluded = false
      }
    }
    return excluded
  }
}
