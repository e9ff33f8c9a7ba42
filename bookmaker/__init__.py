"""How this book is made: paired notebooks, their execution, the pages, and the checks of all of it."""
