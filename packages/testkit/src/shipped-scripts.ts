import { loadScript, type ParsedScript } from './script.js'

/** What the scripted model answers to the prompts of `npm run quickstart`. */
export function quickstartScript(): ParsedScript {
  return loadScript(new URL('../scripts/quickstart.json', import.meta.url))
}

/** What the scripted model answers to the prompts of the README and of examples/. */
export function examplesScript(): ParsedScript {
  return loadScript(new URL('../scripts/examples.json', import.meta.url))
}
