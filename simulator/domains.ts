/** Running domains of the pool. */
export class Domains {}
