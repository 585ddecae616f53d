export { RootMoves } from './root-moves.js'
