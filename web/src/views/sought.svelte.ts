// What somebody looked for elsewhere and finds on the view it leads to.

class Sought {
  setting = $state('');
}

export const sought = new Sought();
