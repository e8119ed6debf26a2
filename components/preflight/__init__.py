"""Making sure that the places a run will use can be used."""
