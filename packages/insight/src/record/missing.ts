export interface Missing {
  what: string
  kind: 'command' | 'python' | 'node' | 'header' | 'library'
}

/** What a shell says of a command that isn't there, whatever comes of the line as a whole. */
const absentCommands = [
  /^(?:\S*\/)?(?:bash|sh|zsh|dash)(?:: line \d+|: \d+)?: ([\w.+@/-]+): (?:command )?not found$/gm,
  /^zsh: command not found: ([\w.+@/-]+)$/gm,
  /^\/usr\/bin\/env: ['‘]?([\w.+-]+)['’]?: No such file or directory$/gm,
]
/** These count only where the command failed: a program may well try a module and go on without it. */
const absentPackages: [Missing['kind'], RegExp][] = [
  ['python', /ModuleNotFoundError: No module named '([\w.-]+)'/g],
  ['python', /: No module named ([\w.-]+)$/gm],
  ['node', /Cannot find (?:module|package) '((?!\.|\/|node:)[^'\s]+)'/g],
  ['header', /fatal error: ([\w./+-]+\.(?:h|hpp|hh)): No such file or directory/g],
  ['library', /(?:cannot find -l|unable to find library -l)([\w+.-]+)/g],
]

/** Commands and packages that an output says are not installed. */
export function missingIn(output: string, ok: boolean): Missing[] {
  const found = new Map<string, Missing>()
  const add = (kind: Missing['kind'], what: string | undefined): void => {
    if (what !== undefined && what.length <= 100) found.set(`${kind} ${what}`, { kind, what })
  }
  for (const pattern of absentCommands) for (const [, what] of output.matchAll(pattern)) add('command', what)
  if (ok) return [...found.values()]
  for (const [kind, pattern] of absentPackages)
    for (const [, what] of output.matchAll(pattern)) add(kind, nameOf(kind, what))
  return [...found.values()]
}

/** `@scope/name/deep/file` is in the package `@scope/name`, `yaml.reader` in `yaml`. */
function nameOf(kind: Missing['kind'], found = ''): string {
  if (kind === 'python') return found.split('.', 1)[0] as string
  if (kind !== 'node') return found
  return found
    .split('/')
    .slice(0, found.startsWith('@') ? 2 : 1)
    .join('/')
}
